/* move.h: y[rows, cols] = x[rows, cols] (or += x), any strides; one text for copies, broadcasts and transposes.
 *
 * ops/copy.c chooses which two of its dimensions are rows and cols. Elements of y that coincide (a stride of 0) are
 * written in the order of rows, then cols.
 */
#include "part.h"

typedef struct copy_block {
    int64_t rows, cols, x_row, x_col, y_row, y_col;
    const real *x;
    real *y;
} copy_block;

FNN_INLINE void copy_store(real *y, vec x, int count, const int accumulate) {
    part_store(y, accumulate ? v_add(part_load(y, count), x) : x, count);
}

/* y_col == 1 and x_col is 1, or 0: one value along each row */
FNN_INLINE void copy_runs(const copy_block *b, const int accumulate) {
    for (int64_t r = 0; r < b->rows; r++) {
        const real *x = b->x + r * b->x_row;
        real *y = b->y + r * b->y_row;
        if (b->x_col && !accumulate && b->cols >= 64)
            memcpy(y, x, (size_t)b->cols * sizeof *y);
        else if (b->x_col)
            FOR_PARTS(b->cols, copy_store(y + i, part_load(x + i, count), count, accumulate));
        else
            FOR_PARTS(b->cols, copy_store(y + i, v_set1(*x), count, accumulate));
    }
}

/* VLEN vectors as columns become VLEN vectors as rows: log2(VLEN) rounds, each zips vector i with vector i + VLEN/2. */
FNN_INLINE void copy_transpose(vec tile[VLEN]) {
#if VLEN > 1
#pragma GCC unroll 4
    for (int round = 1; round < VLEN; round *= 2) {
        vec next[VLEN];
#pragma GCC unroll 8
        for (int i = 0; i < VLEN / 2; i++) {
            next[2 * i] = v_zip_low(tile[i], tile[i + VLEN / 2]);
            next[2 * i + 1] = v_zip_high(tile[i], tile[i + VLEN / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < VLEN; i++)
            tile[i] = next[i];
    }
#else
    (void)tile;
#endif
}

/* One tile at most VLEN x VLEN; y_col == 1 and x_row == 1. */
FNN_INLINE void copy_tile(const copy_block *b, int64_t row, int64_t col, int rows, int cols, const int accumulate) {
    const real *x = b->x + row + col * b->x_col;
    real *y = b->y + row * b->y_row + col;
    vec tile[VLEN];
#pragma GCC unroll 16
    for (int c = 0; c < VLEN; c++)
        tile[c] = c < cols ? part_load(x + c * b->x_col, rows) : v_zero();
    copy_transpose(tile);
#pragma GCC unroll 16
    for (int r = 0; r < VLEN; r++)
        if (r < rows)
            copy_store(y + r * b->y_row, tile[r], cols, accumulate);
}

static void copy_edge_tile(const copy_block *b, int64_t row, int64_t col, int rows, int cols, int accumulate) {
    copy_tile(b, row, col, rows, cols, accumulate);
}

/* y_col == 1 and x_row == 1, in squares of a few cache lines, so that short vectors use up the lines that they open */
FNN_INLINE void copy_transposed(const copy_block *b, const int accumulate) {
    enum { SQUARE = 32 };
    for (int64_t row0 = 0; row0 < b->rows; row0 += SQUARE)
        for (int64_t col0 = 0; col0 < b->cols; col0 += SQUARE) {
            const int64_t row1 = row0 + SQUARE < b->rows ? row0 + SQUARE : b->rows;
            const int64_t col1 = col0 + SQUARE < b->cols ? col0 + SQUARE : b->cols;
            for (int64_t row = row0; row < row1; row += VLEN)
                for (int64_t col = col0; col < col1; col += VLEN) {
                    if (row + VLEN <= row1 && col + VLEN <= col1)
                        copy_tile(b, row, col, VLEN, VLEN, accumulate);
                    else
                        copy_edge_tile(b, row, col, (int)(row1 - row < VLEN ? row1 - row : VLEN),
                                       (int)(col1 - col < VLEN ? col1 - col : VLEN), accumulate);
                }
        }
}

FNN_INLINE void copy_any(const copy_block *b, const int accumulate) {
    for (int64_t r = 0; r < b->rows; r++) {
        const real *x = b->x + r * b->x_row;
        real *y = b->y + r * b->y_row;
        for (int64_t c = 0; c < b->cols; c++)
            y[c * b->y_col] = accumulate ? y[c * b->y_col] + x[c * b->x_col] : x[c * b->x_col];
    }
}

static void copy_2d(int64_t rows, int64_t cols, const void *x, int64_t x_row, int64_t x_col, void *y, int64_t y_row,
                    int64_t y_col, int accumulate) {
    const copy_block b = {rows, cols, x_row, x_col, y_row, y_col, x, y};
    const int runs = y_col == 1 && (x_col == 1 || x_col == 0), transposed = y_col == 1 && x_row == 1;
    if (runs && accumulate)
        copy_runs(&b, 1);
    else if (runs)
        copy_runs(&b, 0);
    else if (transposed && accumulate)
        copy_transposed(&b, 1);
    else if (transposed)
        copy_transposed(&b, 0);
    else if (accumulate)
        copy_any(&b, 1);
    else
        copy_any(&b, 0);
}
