#ifndef STORE_CHECK_LINEAR_H
#define STORE_CHECK_LINEAR_H
/*
 * Is a history of concurrent operations on one key linearizable: could they have happened one after the other, each at
 * some moment between its call and its answer, on a register that is written under guards of revisions?
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { LIN_READ, LIN_PUT, LIN_DELETE } lin_kind_t;
typedef enum {
  LIN_DONE,     /* read: there was a value; write: it was done */
  LIN_ABSENT,   /* there was no such key */
  LIN_CONFLICT, /* the guard did not hold */
} lin_result_t;

typedef struct lin_op {
  lin_kind_t kind;
  lin_result_t result;
  int64_t begin, end; /* call and answer, any clock; INT64_MAX: never answered, but known to be done */
  bool guarded;
  int64_t expect; /* the revision the key must have, 0: it must be absent */
  int64_t rev;    /* done: the revision that was written or read */
  int64_t value;  /* done: the value that was written, read or deleted */
} lin_op_t;

/* NULL if it is, else a sentence about where it is not (in `text`, which has `room` bytes). Sorts the operations. */
const char *lin_check(lin_op_t *ops, size_t n, char *text, size_t room);

#endif
