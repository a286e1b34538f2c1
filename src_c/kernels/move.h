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

FNN_INLINE void copy_any(const copy_block *b, const int accumulate) {
    for (int64_t r = 0; r < b->rows; r++) {
        const real *x = b->x + r * b->x_row;
        real *y = b->y + r * b->y_row;
        for (int64_t c = 0; c < b->cols; c++)
            y[c * b->y_col] = accumulate ? y[c * b->y_col] + x[c * b->x_col] : x[c * b->x_col];
    }
}

/* PIECE vectors, piece k of vector i holding PIECE rows of column k * PIECE + i, become PIECE rows of VLEN columns:
 * log2(PIECE) rounds, each zips vector i with vector i + PIECE/2. */
FNN_INLINE void copy_transpose(vec tile[PIECE]) {
#if PIECE > 1
#pragma GCC unroll 2
    for (int round = 1; round < PIECE; round *= 2) {
        vec next[PIECE];
#pragma GCC unroll 2
        for (int i = 0; i < PIECE / 2; i++) {
            next[2 * i] = v_zip_low(tile[i], tile[i + PIECE / 2]);
            next[2 * i + 1] = v_zip_high(tile[i], tile[i + PIECE / 2]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < PIECE; i++)
            tile[i] = next[i];
    }
#else
    (void)tile;
#endif
}

/* PIECE rows of y from columns of x that are x_col apart; `cols` of them, at most VLEN, are stored. */
FNN_INLINE void copy_tile(const real *x, int64_t x_col, real *y, int64_t y_row, int cols, const int accumulate) {
    vec tile[PIECE];
#pragma GCC unroll 4
    for (int i = 0; i < PIECE; i++)
        tile[i] = v_load_pieces(x + i * x_col, PIECE * x_col);
    copy_transpose(tile);
#pragma GCC unroll 4
    for (int i = 0; i < PIECE; i++)
        copy_store(y + i * y_row, tile[i], cols, accumulate);
}

/* Fewer than VLEN columns: their pieces go through a full tile, whose other columns are zero. */
static void copy_narrow_tile(const real *x, int64_t x_col, real *y, int64_t y_row, int cols, int accumulate) {
    real full[VLEN * PIECE] = {0};
    for (int c = 0; c < cols; c++)
        memcpy(full + c * PIECE, x + c * x_col, sizeof(real) * PIECE);
    copy_tile(full, PIECE, y, y_row, cols, accumulate);
}

/* y_col == 1 and x_row == 1. A strip of VLEN columns of x is read downwards, so that short vectors use up the cache
 * lines that they open; the lines of y, few enough for one L1 set, wait for the next strip. */
FNN_INLINE void copy_transposed(const copy_block *b, const int accumulate) {
    enum { STRIP_ROWS = 16 };
    const int64_t whole = b->rows / PIECE * PIECE;
    for (int64_t row0 = 0; row0 < whole; row0 += STRIP_ROWS) {
        const int64_t row1 = row0 + STRIP_ROWS < whole ? row0 + STRIP_ROWS : whole;
        for (int64_t col = 0; col < b->cols; col += VLEN) {
            const int64_t cols = b->cols - col;
            for (int64_t row = row0; row < row1; row += PIECE) {
                const real *x = b->x + row + col * b->x_col;
                real *y = b->y + row * b->y_row + col;
                if (cols >= VLEN)
                    copy_tile(x, b->x_col, y, b->y_row, VLEN, accumulate);
                else
                    copy_narrow_tile(x, b->x_col, y, b->y_row, (int)cols, accumulate);
            }
        }
    }
    const copy_block rest = {b->rows - whole, b->cols, 1, b->x_col, b->y_row, 1, b->x + whole, b->y + whole * b->y_row};
    copy_any(&rest, accumulate);
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
