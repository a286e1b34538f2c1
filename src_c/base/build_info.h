/* build_info.h: how this library was built. */
#ifndef FNN_BUILD_INFO_H
#define FNN_BUILD_INFO_H

const char *fnn_compiler(void);
int fnn_openmp_version(void); /* the date of the specification as yyyymm, 0 without OpenMP */

#endif
