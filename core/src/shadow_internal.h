#ifndef KG_SHADOW_INTERNAL_H
#define KG_SHADOW_INTERNAL_H
/* The parts of a comparison: shadow.c, what the plugin serves and publishes; shadow_calls.c, what it asks of others;
 * shadow_report.c, what came of it. */
#include "compare.h"
#include "make.h"
#include "shadow.h"

#define KG_SHADOW_EXCHANGES 65536 /* open requests to the plugin */
#define KG_SHADOW_AHEAD 4096      /* answers or events by which one side may be ahead of the other */
#define KG_SHADOW_WAITING 4096    /* requests of the candidate */
#define KG_SHADOW_GROUPS 256
#define KG_SHADOW_SHOWN 20 /* differences */
#define KG_SHADOW_TIMES 4096

typedef enum { KG_SIDE_ANSWER, KG_SIDE_REQUEST, KG_SIDE_EVENT, KG_SIDES } kg_side_t;

/* Counts of one topic. */
typedef struct kg_tally {
  struct kg_tally *next;
  kg_side_t side;
  char topic[KG_NAME_MAX + 1], by[128];
  uint64_t equal, different, only_live, only_candidate;
} kg_tally_t;

/* One difference, for people. */
typedef struct kg_shown {
  kg_tally_t *tally;
  char path[KG_PATH_MAX];
  char *args, *live, *candidate; /* JSON, cut off */
} kg_shown_t;

typedef struct kg_times {
  int64_t us[KG_SHADOW_TIMES];
  uint64_t count;
} kg_times_t;

/* What both sides say to one request, or under one topic of events: each message waits for its partner. */
typedef struct kg_exchange {
  struct kg_exchange *next; /* of events */
  uint64_t id;
  kg_msg_t *request; /* NULL for events */
  kg_tally_t *tally;
  kg_queue_t live, candidate;
  bool live_done, candidate_done, stream;
  int64_t live_at, given_at; /* 0: the first answer has come */
} kg_exchange_t;

/* A request of the live one. */
typedef struct kg_asked {
  struct kg_asked *next_same, *last_same; /* of the same hash; the last one is known to the first one only */
  struct kg_asked *older, *newer;
  uint64_t hash, consumer; /* the candidate's id, 0: none */
  kg_msg_t *m;
  kg_queue_t answers;
  int64_t at_us; /* our clock */
  bool matched, ended, torn;
  kg_tally_t *tally;
} kg_asked_t;

/* A request of the candidate that has no partner yet. */
typedef struct kg_wanted {
  struct kg_wanted *next;
  uint64_t hash;
  kg_msg_t *m;
  int64_t until_us;
} kg_wanted_t;

struct kg_shadow {
  kg_shadow_options_t o;
  kg_table_t exchanges; /* id -> kg_exchange_t */
  kg_exchange_t *events;
  char **prefixes;
  size_t nprefixes, open;
  uint64_t messages, skipped, heard, strange;
  /* shadow_calls.c */
  kg_table_t by_hash, by_id, consumers;
  kg_asked_t *oldest, *newest;
  size_t nasked, kept, nwanted;
  kg_wanted_t *wanted, **last_wanted;
  bool complete;
  /* shadow_report.c */
  kg_tally_t *tallies;
  size_t ntallies;
  kg_shown_t shown[KG_SHADOW_SHOWN];
  size_t nshown;
  kg_times_t live_times, candidate_times;
};

void kg_shadow_live_asks(kg_shadow_t *s, const kg_msg_t *m);
void kg_shadow_live_hears(kg_shadow_t *s, const kg_msg_t *m);
void kg_shadow_candidate_asks(kg_shadow_t *s, const kg_msg_t *m);
void kg_shadow_candidate_cancels(kg_shadow_t *s, uint64_t id);
void kg_shadow_calls_free(kg_shadow_t *s);
/* How many requests of that topic only the live one has made so far, and how many may still find a partner. */
void kg_shadow_calls_left(const kg_shadow_t *s, const kg_tally_t *t, uint64_t *only_live, uint64_t *pending);

kg_tally_t *kg_tally_of(kg_shadow_t *s, kg_side_t side, const kg_msg_t *m);
/* Counts two partners; true if they are equal. If not, *d says where. `request`: what it was about, or NULL. */
bool kg_shadow_count(kg_shadow_t *s, kg_tally_t *t, const kg_msg_t *live, const kg_msg_t *candidate,
                     const kg_msg_t *request, kg_difference_t *d);
void kg_times_add(kg_times_t *t, int64_t us);
/* The value as JSON of at most `most` bytes; caller frees. */
char *kg_snippet(kg_view_t v, const char *text, size_t most);

#endif
