/* grid.h: a rows x cols array cut into pieces of about FNN_PIECE elements, the unit of work of row-local ops.
 *
 * Narrow rows go several to a piece, long rows are cut. The pieces depend on the shape only.
 */
#ifndef FNN_GRID_H
#define FNN_GRID_H

#include "../base/team.h"

enum { FNN_PIECE = 4096 };

typedef struct fnn_grid {
    int64_t rows, cols;             /* of the array */
    int64_t piece_rows, piece_cols; /* of a piece; the last ones are smaller */
    int64_t across, pieces;         /* pieces side by side; in all */
} fnn_grid;

typedef struct fnn_piece {
    int64_t row, col, rows, cols;
} fnn_piece;

static inline int64_t fnn_smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static inline fnn_grid fnn_grid_of(int64_t rows, int64_t cols) {
    fnn_grid grid = {rows, cols, 1, FNN_PIECE, 0, 0};
    if (rows <= 0 || cols <= 0)
        return grid;
    if (cols < FNN_PIECE) {
        grid.piece_rows = FNN_PIECE / cols;
        grid.piece_cols = cols;
    }
    grid.across = (cols + grid.piece_cols - 1) / grid.piece_cols;
    grid.pieces = (rows + grid.piece_rows - 1) / grid.piece_rows * grid.across;
    return grid;
}

static inline fnn_piece fnn_grid_piece(const fnn_grid *grid, int64_t index) {
    const int64_t row = index / grid->across * grid->piece_rows, col = index % grid->across * grid->piece_cols;
    const fnn_piece piece = {row, col, fnn_smaller(grid->rows - row, grid->piece_rows),
                             fnn_smaller(grid->cols - col, grid->piece_cols)};
    return piece;
}

#endif
