#include "shadow_internal.h"

#include <stdlib.h>
#include <string.h>

kg_shadow_t *kg_shadow_new(const kg_shadow_options_t *o) {
  kg_shadow_t *s = calloc(1, sizeof *s);
  if (s) {
    s->o = *o;
    s->last_wanted = &s->wanted;
    return s;
  }
  for (char **w = o->ignore; w && *w; w++) free(*w);
  for (char **w = o->by; w && *w; w++) free(*w);
  free(o->ignore);
  free(o->by);
  return NULL;
}

static void free_exchange(kg_exchange_t *e) {
  kg_queue_free(&e->live);
  kg_queue_free(&e->candidate);
  kg_msg_unref(e->request);
  free(e);
}

static void free_words(char **words) {
  for (char **w = words; w && *w; w++) free(*w);
  free(words);
}

void kg_shadow_free(kg_shadow_t *s) {
  uint64_t id;
  if (!s) return;
  for (kg_exchange_t *e; (e = kg_table_any(&s->exchanges, &id)) != NULL;) {
    kg_table_remove(&s->exchanges, id);
    free_exchange(e);
  }
  for (kg_exchange_t *e = s->events, *next; e; e = next) {
    next = e->next;
    free_exchange(e);
  }
  kg_shadow_calls_free(s);
  for (kg_tally_t *t = s->tallies, *next; t; t = next) {
    next = t->next;
    free(t);
  }
  for (size_t i = 0; i < s->nshown; i++) {
    free(s->shown[i].args);
    free(s->shown[i].live);
    free(s->shown[i].candidate);
  }
  for (size_t i = 0; i < s->nprefixes; i++) free(s->prefixes[i]);
  free(s->prefixes);
  free_words(s->o.ignore);
  free_words(s->o.by);
  kg_table_free(&s->exchanges);
  free(s);
}

void kg_shadow_skipped(kg_shadow_t *s, uint64_t n) {
  s->skipped += n;
}
size_t kg_shadow_open(const kg_shadow_t *s) {
  return s->open;
}
uint64_t kg_shadow_heard(const kg_shadow_t *s) {
  return s->heard;
}

static bool give(kg_shadow_t *s, const kg_msg_t *m) {
  if (s->o.give(s->o.arg, m, kg_msg_id(m))) return true;
  s->skipped++;
  return false;
}

/* --- pairs -------------------------------------------------------------------------------------------------------- */

/* A message of one side meets the oldest one of the other, or waits. */
static void offer(kg_shadow_t *s, kg_exchange_t *e, bool live, const kg_msg_t *m) {
  kg_queue_t *own = live ? &e->live : &e->candidate, *other = live ? &e->candidate : &e->live;
  kg_difference_t d = {0};
  kg_parcel_t p;
  if (kg_queue_pop(other, &p)) {
    kg_shadow_count(s, e->tally, live ? m : p.m, live ? p.m : m, e->request, &d);
    kg_parcel_free(&p);
  } else if (own->count < KG_SHADOW_AHEAD) {
    kg_queue_push(own, (kg_parcel_t){.m = kg_msg_ref(m)});
  } else {
    *(live ? &e->tally->only_live : &e->tally->only_candidate) += 1;
  }
}

static void close_exchange(kg_shadow_t *s, kg_exchange_t *e, bool count) {
  if (count) {
    e->tally->only_live += e->live.count;
    e->tally->only_candidate += e->candidate.count;
  }
  if (!e->candidate_done && !e->stream) s->open--;
  kg_table_remove(&s->exchanges, e->id);
  free_exchange(e);
}

static bool ends(const kg_msg_t *m) {
  kg_msg_type_t type = kg_msg_type(m);
  return type == KG_MSG_REPLY || type == KG_MSG_ERROR || type == KG_MSG_END;
}

static void answer(kg_shadow_t *s, kg_exchange_t *e, bool live, const kg_msg_t *m, int64_t at_us) {
  int64_t *since = live ? &e->live_at : &e->given_at;
  bool *done = live ? &e->live_done : &e->candidate_done;
  if (kg_msg_type(m) == KG_MSG_CREDIT || *done) return;
  if (*since) kg_times_add(live ? &s->live_times : &s->candidate_times, at_us - *since);
  *since = 0;
  offer(s, e, live, m);
  if (!ends(m)) return;
  *done = true;
  if (!live && !e->stream) s->open--;
  if (e->live_done && e->candidate_done) close_exchange(s, e, true);
}

/* --- requests to the plugin --------------------------------------------------------------------------------------- */

static void request_came(kg_shadow_t *s, const kg_msg_t *m, int64_t at_us) {
  if (s->exchanges.count >= KG_SHADOW_EXCHANGES || kg_table_get(&s->exchanges, kg_msg_id(m))) {
    s->skipped++;
    return;
  }
  kg_exchange_t *e = calloc(1, sizeof *e);
  kg_tally_t *t = kg_tally_of(s, KG_SIDE_ANSWER, m);
  if (!e || !t || kg_table_put(&s->exchanges, kg_msg_id(m), e) < 0) {
    free(e);
    s->skipped++;
    return;
  }
  *e = (kg_exchange_t){.id = kg_msg_id(m),
                       .request = kg_msg_ref(m),
                       .tally = t,
                       .stream = kg_msg_stream(m),
                       .live_at = at_us,
                       .given_at = kg_clock_us()};
  s->open += !e->stream;
  if (!give(s, m)) close_exchange(s, e, false);
}

static void requester_says(kg_shadow_t *s, const kg_msg_t *m) {
  kg_exchange_t *e = kg_table_get(&s->exchanges, kg_msg_id(m));
  if (!e) return;
  give(s, m);
  if (kg_msg_type(m) == KG_MSG_CANCEL) close_exchange(s, e, false);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

void kg_shadow_wants(kg_shadow_t *s, const char *prefix) {
  char **more = realloc(s->prefixes, (s->nprefixes + 1) * sizeof *more);
  if (!more) return;
  s->prefixes = more;
  if ((more[s->nprefixes] = strdup(prefix)) != NULL) s->nprefixes++;
}

static void event_came(kg_shadow_t *s, const kg_msg_t *m) {
  for (size_t i = 0; i < s->nprefixes; i++) {
    if (strncmp(kg_msg_topic(m), s->prefixes[i], strlen(s->prefixes[i])) != 0) continue;
    give(s, m);
    return;
  }
}

static void event_went(kg_shadow_t *s, bool live, const kg_msg_t *m) {
  kg_tally_t *t = kg_tally_of(s, KG_SIDE_EVENT, m);
  kg_exchange_t *e = s->events;
  while (e && e->tally != t) e = e->next;
  if (!e && t && (e = calloc(1, sizeof *e)) != NULL) {
    e->tally = t;
    e->next = s->events;
    s->events = e;
  }
  if (e) offer(s, e, live, m);
}

/* --- the three mouths --------------------------------------------------------------------------------------------- */

void kg_shadow_got(kg_shadow_t *s, const kg_msg_t *m, int64_t at_us) {
  s->messages++;
  if (kg_msg_type(m) == KG_MSG_REQUEST)
    request_came(s, m, at_us);
  else if (kg_msg_type(m) == KG_MSG_EVENT)
    event_came(s, m);
  else if (kg_from_requester(m))
    requester_says(s, m);
  else
    kg_shadow_live_hears(s, m);
}

void kg_shadow_sent(kg_shadow_t *s, const kg_msg_t *m, int64_t at_us) {
  s->messages++;
  kg_exchange_t *e = kg_table_get(&s->exchanges, kg_msg_id(m));
  if (kg_msg_type(m) == KG_MSG_REQUEST)
    kg_shadow_live_asks(s, m);
  else if (kg_msg_type(m) == KG_MSG_EVENT)
    event_went(s, true, m);
  else if (!kg_from_requester(m) && e)
    answer(s, e, true, m, at_us);
}

void kg_shadow_said(kg_shadow_t *s, const kg_msg_t *m) {
  kg_exchange_t *e = kg_table_get(&s->exchanges, kg_msg_id(m));
  s->heard++;
  if (kg_msg_type(m) == KG_MSG_REQUEST)
    kg_shadow_candidate_asks(s, m);
  else if (kg_msg_type(m) == KG_MSG_EVENT)
    event_went(s, false, m);
  else if (kg_from_requester(m) && kg_msg_type(m) == KG_MSG_CANCEL)
    kg_shadow_candidate_cancels(s, kg_msg_id(m));
  else if (!kg_from_requester(m) && e)
    answer(s, e, false, m, kg_clock_us());
  else if (!kg_from_requester(m))
    s->strange++;
}
