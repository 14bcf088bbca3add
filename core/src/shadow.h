#ifndef KG_SHADOW_H
#define KG_SHADOW_H
/*
 * A candidate compared with the live plugin (PROTOCOL.md rules 20-24). What the live one gets and sends comes in, also
 * from a recording; what it gets is given to the candidate; what the candidate says is compared and answered here, and
 * goes no further. One thread: the lane of the candidate's proxy.
 */
#include "kernel.h"

typedef struct kg_shadow kg_shadow_t;

typedef struct kg_shadow_options {
  int64_t patience_us; /* a request of the candidate waits so long for an equal one of the live one */
  size_t most_calls;   /* requests of the live one that are remembered */
  size_t most_answers; /* and answers to them */
  char **ignore;       /* globs of paths whose differences do not count, NULL-terminated, or NULL; taken over */
  char **by;           /* arguments by which requests are counted apart; same */
  /* A message for the candidate, under this id; borrowed. False: it takes nothing now. */
  bool (*give)(void *arg, const kg_msg_t *m, uint64_t id);
  void *arg;
} kg_shadow_options_t;

/* NULL when out of memory; `ignore` and `by` are freed in any case. */
kg_shadow_t *kg_shadow_new(const kg_shadow_options_t *o);
void kg_shadow_free(kg_shadow_t *s);

/* The live one got m, or sent it, at that time; microseconds of any one clock. */
void kg_shadow_got(kg_shadow_t *s, const kg_msg_t *m, int64_t at_us);
void kg_shadow_sent(kg_shadow_t *s, const kg_msg_t *m, int64_t at_us);
/* The candidate sent m, or wants to hear of events. */
void kg_shadow_said(kg_shadow_t *s, const kg_msg_t *m);
void kg_shadow_wants(kg_shadow_t *s, const char *prefix);
/* To be called from time to time while it returns true: requests of the candidate wait. */
bool kg_shadow_tick(kg_shadow_t *s);
/* The live one sends nothing more: nothing is waited for any longer. */
void kg_shadow_complete(kg_shadow_t *s);
/* Messages the candidate missed because they came too fast for it. */
void kg_shadow_skipped(kg_shadow_t *s, uint64_t n);

/* Requests the candidate has not answered yet, without streams; answers and requests it has made so far. */
size_t kg_shadow_open(const kg_shadow_t *s);
uint64_t kg_shadow_heard(const kg_shadow_t *s);
/* Adds what was found to an open map: messages, skipped, answers, requests, events, groups, latency, differences. */
void kg_shadow_report(kg_shadow_t *s, kg_pack_t *p);

#endif
