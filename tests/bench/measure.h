#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H
/* For benchmark programs: a clock, percentiles, and the flat JSON object they write. */
#include <stddef.h>
#include <stdint.h>

int64_t now_ns(void);
/* Memory of this process that is resident now. */
long resident_kib(void);
/* Sorts the values; the p-th percentile (0-100). 0 if there are none. */
double percentile(double *values, size_t n, double p);

/* A file `{"key": number, ...}`. Ends the program with a sentence if it cannot be written. */
void json_open(const char *path);
void json_number(const char *key, double value);
void json_close(void);

#endif
