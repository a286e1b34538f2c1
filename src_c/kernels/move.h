/* move.h: y[rows, cols] = x[rows, cols] (or += x), any strides; one text for copies, broadcasts and transposes.
 *
 * ops/copy.c chooses which two of its dimensions are rows and cols. Elements of y that coincide (a stride of 0) are
 * written in the order of rows, then cols.
 */
#ifndef FNN_MOVE_H
#define FNN_MOVE_H

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

/* y[PIECE]: in each piece, element k of x[i] is element i of y[k]. log2(PIECE) rounds, each zips vector i with vector
 * i + PIECE/2. */
FNN_INLINE void copy_transpose(const vec x[PIECE], vec y[PIECE]) {
#if PIECE == 4
    const vec low02 = v_zip_low(x[0], x[2]), high02 = v_zip_high(x[0], x[2]), low13 = v_zip_low(x[1], x[3]),
              high13 = v_zip_high(x[1], x[3]);
    y[0] = v_zip_low(low02, low13);
    y[1] = v_zip_high(low02, low13);
    y[2] = v_zip_low(high02, high13);
    y[3] = v_zip_high(high02, high13);
#elif PIECE == 2
    y[0] = v_zip_low(x[0], x[1]);
    y[1] = v_zip_high(x[0], x[1]);
#else
    y[0] = x[0];
#endif
}

/* x[VLEN] becomes its transpose: first PIECE x PIECE squares within the pieces, then the pieces among the vectors. */
FNN_INLINE void copy_transpose_square(const vec x[VLEN], vec y[VLEN]) {
    enum { PIECES = VLEN / PIECE };
    vec squares[VLEN];
    for (int g = 0; g < PIECES; g++)
        copy_transpose(x + g * PIECE, squares + g * PIECE);
    for (int i = 0; i < PIECE; i++) {
        vec row[PIECES];
        for (int g = 0; g < PIECES; g++)
            row[g] = squares[g * PIECE + i];
        v_transpose_pieces(row);
        for (int g = 0; g < PIECES; g++)
            y[g * PIECE + i] = row[g];
    }
}

/* VLEN columns of x, whole vectors along its rows, become VLEN rows of y; every cache line of x is opened once. Not
 * inlined: the addresses of 2 x VLEN rows would fill the caller's registers. */
static __attribute__((noinline)) void copy_square(const real *x, int64_t x_col, real *y, int64_t y_row,
                                                  int accumulate) {
    vec columns[VLEN], rows[VLEN];
    for (int i = 0; i < VLEN; i++)
        columns[i] = v_load(x + i * x_col);
    copy_transpose_square(columns, rows);
    if (accumulate)
        for (int i = 0; i < VLEN; i++)
            rows[i] = v_add(v_load(y + i * y_row), rows[i]);
    for (int i = 0; i < VLEN; i++)
        v_store(y + i * y_row, rows[i]);
}

/* PIECE rows of y from columns of x that are x_col apart; `cols` of them, at most VLEN, are stored. */
FNN_INLINE void copy_tile(const real *x, int64_t x_col, real *y, int64_t y_row, int cols, const int accumulate) {
    vec pieces[PIECE], rows[PIECE];
    for (int i = 0; i < PIECE; i++)
        pieces[i] = v_load_pieces(x + i * x_col, PIECE * x_col);
    copy_transpose(pieces, rows);
    for (int i = 0; i < PIECE; i++)
        copy_store(y + i * y_row, rows[i], cols, accumulate);
}

/* Fewer than VLEN columns: their pieces go through a full tile, whose other columns are zero. */
static void copy_narrow_tile(const real *x, int64_t x_col, real *y, int64_t y_row, int cols, int accumulate) {
    real full[VLEN * PIECE] = {0};
    for (int c = 0; c < cols; c++)
        memcpy(full + c * PIECE, x + c * x_col, sizeof(real) * PIECE);
    copy_tile(full, PIECE, y, y_row, cols, accumulate);
}

/* Rows [row0, row1) of y, at most COPY_STRIP: squares where there are whole ones. Elsewhere x is read downwards, so
 * that short vectors use up the cache lines that they open; the lines of y, few enough for one L1 set, wait for the
 * next. */
enum { COPY_STRIP = 16 };
FNN_INLINE void copy_strip(const copy_block *b, int64_t row0, int64_t row1, const int accumulate) {
    const int64_t whole = row0 + (row1 - row0) / PIECE * PIECE;
    for (int64_t col = 0; col < b->cols; col += VLEN) {
        const int64_t cols = b->cols - col;
        const int squares = cols >= VLEN && row1 - row0 == COPY_STRIP;
        for (int64_t row = row0; row < whole; row += squares ? VLEN : PIECE) {
            const real *x = b->x + row + col * b->x_col;
            real *y = b->y + row * b->y_row + col;
            if (squares)
                copy_square(x, b->x_col, y, b->y_row, accumulate);
            else if (cols >= VLEN)
                copy_tile(x, b->x_col, y, b->y_row, VLEN, accumulate);
            else
                copy_narrow_tile(x, b->x_col, y, b->y_row, (int)cols, accumulate);
        }
    }
    const copy_block rest = {row1 - whole, b->cols, 1, b->x_col, b->y_row, 1, b->x + whole, b->y + whole * b->y_row};
    copy_any(&rest, accumulate);
}

/* y_col == 1 and x_row == 1. If all columns of x begin at the same place in a cache line, the first strip ends where
 * the next line begins: vectors across two lines would open each line twice. */
FNN_INLINE void copy_transposed(const copy_block *b, const int accumulate) {
    enum { LINE = 64 / sizeof(real) };
    const int64_t into = (int64_t)((uintptr_t)b->x / sizeof(real) % LINE);
    int64_t row = 0;
    if (b->x_col % LINE == 0 && into != 0 && b->rows > 4 * LINE) {
        copy_strip(b, 0, LINE - into, accumulate);
        row = LINE - into;
    }
    for (; row < b->rows; row += COPY_STRIP)
        copy_strip(b, row, row + COPY_STRIP < b->rows ? row + COPY_STRIP : b->rows, accumulate);
}

/* y = x past the caches: what a result that they cannot hold is stored by, chunk after chunk */
static void stream(int64_t n, const void *x, void *y) {
    const real *from = x;
    real *to = y;
    const int64_t into = (int64_t)((uintptr_t)to / sizeof(real) % VLEN), head = into ? VLEN - into : 0;
    int64_t i = head < n ? head : n;
    v_store_n(to, v_load_n(from, (int)i), (int)i);
    for (; i + VLEN <= n; i += VLEN)
        v_stream(to + i, v_load(from + i));
    v_store_n(to + i, v_load_n(from + i, (int)(n - i)), (int)(n - i));
    v_stream_end();
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

#endif
