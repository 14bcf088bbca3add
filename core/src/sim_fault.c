/* What faulty links do to messages. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "make.h"
#include "sim.h"

static char *copy_glob(const char *glob) {
  return glob && strcmp(glob, "*") != 0 ? strdup(glob) : NULL;
}

int kg_sim_fault(kg_kernel_t *k, const kg_sim_fault_t *f, kg_error_t *err) {
  kg_sim_t *s = k->sim;
  kg_faulty_t *n = s ? calloc(1, sizeof *n) : NULL;
  if (!n) return kg_error_set(err, s ? KG_EFULL : KG_EINVAL, s ? "out of memory" : "this kernel is not simulated");
  n->f = *f;
  n->f.from = copy_glob(f->from);
  n->f.to = copy_glob(f->to);
  n->f.topic = copy_glob(f->topic);
  *s->last_fault = n;
  s->last_fault = &n->next;
  return 0;
}

static bool fits(const kg_sim_t *s, const char *glob, const char *name) {
  if (s->o.exempt && strcmp(name, s->o.exempt) == 0) return glob && strcmp(glob, name) == 0;
  return !glob || fnmatch(glob, name, 0) == 0;
}

static bool applies(const kg_sim_t *s, const kg_sim_fault_t *f, const kg_parcel_t *p) {
  const char *from = p->from->name, *to = p->to->name;
  if (s->now_us < f->since_us || (f->until_us && s->now_us >= f->until_us)) return false;
  if (f->topic && fnmatch(f->topic, kg_msg_topic(p->m), 0) != 0) return false;
  return (fits(s, f->from, from) && fits(s, f->to, to)) ||
         (f->both_ways && fits(s, f->from, to) && fits(s, f->to, from));
}

/* --- streams have no gaps: they are cut --------------------------------------------------------------------------- */

static void cut(kg_sim_t *s, const kg_parcel_t *p) {
  bool up = kg_from_requester(p->m);
  kg_ctx_t *reader = up ? p->from : p->to, *server = up ? p->to : p->from;
  char text[300];
  snprintf(text, sizeof text, "the link to %s broke", server->name);
  kg_msg_t *error = kg_make_error(server, kg_msg_topic(p->m), kg_msg_id(p->m), KG_EUNAVAILABLE, text, NULL);
  kg_msg_t *cancel = kg_msg_new(&(kg_msg_init_t){.type = KG_MSG_CANCEL,
                                                 .topic = kg_msg_topic(p->m),
                                                 .source = reader->name,
                                                 .id = kg_msg_id(p->m),
                                                 .flags = KG_FLAG_UP | KG_FLAG_STREAM});
  kg_sim_send(s, (kg_parcel_t){.to = kg_ctx_ref(reader), .from = kg_ctx_ref(server), .m = error}, 0);
  kg_sim_send(s, (kg_parcel_t){.to = kg_ctx_ref(server), .from = kg_ctx_ref(reader), .m = cancel}, 0);
}

static void lose(kg_sim_t *s, kg_parcel_t *p) {
  kg_sim_tell(s, "lost", p);
  if (kg_msg_stream(p->m)) cut(s, p);
  kg_parcel_free(p);
}

/* --- duplicates ----------------------------------------------------------------------------------------------------
 */

/* Nobody: what is sent to it is dropped. It bears the number of an instance of its own. */
static kg_ctx_t *ghost(kg_sim_t *s) {
  static const kg_plugin_t nobody = {.name = "duplicate", .role = "none"};
  if (!s->ghost && (s->ghost = kg_instance_new(s->k, "duplicate", s->lane, &nobody, NULL)) != NULL)
    atomic_store(&s->ghost->state, KG_STOPPED);
  return s->ghost;
}

static void duplicate(kg_sim_t *s, const kg_parcel_t *p, int64_t delay_us) {
  const kg_msg_t *m = p->m;
  bool request = m->type == KG_MSG_REQUEST;
  kg_ctx_t *from = request ? ghost(s) : p->from;
  if (!from) return;
  kg_msg_t *copy = kg_msg_new(&(kg_msg_init_t){.type = m->type,
                                               .topic = m->topic,
                                               .source = m->source,
                                               .service = m->service,
                                               .text = m->text,
                                               .id = request ? (uint64_t)from->number << 40 | ++s->ghost_id : m->id,
                                               .deadline_ms = m->deadline_ms,
                                               .flags = m->flags,
                                               .credit = m->credit,
                                               .code = m->code,
                                               .args = m->args,
                                               .docs = m->docs,
                                               .ndocs = m->ndocs});
  if (!copy) return;
  kg_sim_tell(s, "duplicated", p);
  kg_sim_send(s, (kg_parcel_t){.to = kg_ctx_ref(p->to), .from = kg_ctx_ref(from), .m = copy}, delay_us);
}

/* --- one message ---------------------------------------------------------------------------------------------------
 */

/* Once a link is faulty, every message costs the same draws, whatever comes of them: the same seed meets the same
 * faults. */
bool kg_sim_spoil(kg_sim_t *s, kg_parcel_t *p, int64_t *delay_us) {
  bool lost = false, twice = false;
  if (!p->from || p->from == p->to || p->from == s->ghost || p->to == s->ghost) return false;
  for (const kg_faulty_t *f = s->faults; f; f = f->next) {
    if (!applies(s, &f->f, p)) continue;
    lost |= kg_sim_chance(s, f->f.loss);
    twice |= kg_sim_chance(s, f->f.duplicate);
    int64_t later = kg_sim_between(s, f->f.delay_min_us, f->f.delay_max_us);
    if (kg_sim_chance(s, f->f.delay)) *delay_us += later;
  }
  if (lost) {
    lose(s, p);
    return true;
  }
  /* A second copy takes its own way, later. A stream's messages are numbered by its transport: no duplicates there. */
  if (twice && !kg_msg_stream(p->m)) duplicate(s, p, *delay_us + kg_sim_between(s, 0, 10 * s->o.latency_max_us));
  return false;
}
