#ifndef STORE_CHECK_H
#define STORE_CHECK_H
/* Clients that write and read a store through the bus while it is stopped and killed, and what is asked of their
 * records. */
#include <stdatomic.h>

#include "kogge/host.h"
#include "linear.h"

typedef struct record { /* one operation of a client */
  lin_op_t op;
  int round, key;
  bool unknown; /* neither done nor refused, as far as the client knows */
} record_t;

typedef struct change { /* one item of a watch */
  bool deleted;
  int round, key;
  int64_t rev, value;
} change_t;

typedef struct changes {
  change_t *list;
  size_t n, room;
} changes_t;

typedef struct load {
  /* set before */
  int clients, keys; /* in every second round all work on one key */
  bool only_writes;
  /* set while it runs, by the program's thread */
  atomic_int round;
  atomic_bool stop;
  /* results, valid when `finished` is set */
  atomic_bool finished;
  atomic_int answered; /* operations, for those who wait for some progress */
  record_t *records;
  size_t nrecords, room;
  changes_t told;   /* by the watch that was there all the time, resumed whenever it ended */
  changes_t replay; /* by a watch over everything in the end */
  changes_t left;   /* what is there in the end */
  bool replayed;    /* false: the beginning is compacted */
  unsigned resumed;
  char trouble[200]; /* what went wrong in the clients themselves */
} load_t;

/* The clients' plugin; one at a time in a process. */
const kg_plugin_t *load_plugin(load_t *l);
void load_free(load_t *l); /* the results; after the kernel has gone */

typedef struct verdict {
  size_t operations, acknowledged, unknown, histories, resumed, faults;
  char first[400]; /* of the faults */
} verdict_t;

verdict_t judge(load_t *l);

#endif
