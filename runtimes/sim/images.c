/* All images are there, or those that the configuration lists; nothing is stored. */
#include <fnmatch.h>
#include <stdio.h>

#include "sim.h"

/* A digest that is always the same for a name. */
void image_id(kg_str_t name, char buf[80]) {
  size_t n = (size_t)snprintf(buf, 80, "sha256:");
  uint64_t h = KG_HASH_START;
  for (unsigned part = 0; part < 4; part++) {
    h = kg_hash(kg_hash_str(h, name), &(uint8_t){(uint8_t)part}, 1);
    n += (size_t)snprintf(buf + n, 80 - n, "%016llx", (unsigned long long)h);
  }
}

static bool listed(const sim_t *s, const char *key, kg_str_t name, bool usual) {
  kg_view_t list = kg_view_get(kg_config(s->ctx), key);
  char image[512], pattern[512];
  if (kg_view_type(list) != KG_V_ARRAY) return usual;
  snprintf(image, sizeof image, KG_STR_FMT, KG_STR_ARG(name));
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    snprintf(pattern, sizeof pattern, KG_STR_FMT, KG_STR_ARG(kg_view_str(it.value)));
    if (!fnmatch(pattern, image, 0)) return true;
  }
  return false;
}

/* What a map of patterns says of the image; absent: nothing. */
static kg_view_t matching(const sim_t *s, const char *key, kg_str_t name) {
  char image[512], pattern[512];
  snprintf(image, sizeof image, KG_STR_FMT, KG_STR_ARG(name));
  for (kg_iter_t it = kg_iter(kg_view_get(kg_config(s->ctx), key)); kg_iter_next(&it);) {
    snprintf(pattern, sizeof pattern, KG_STR_FMT, KG_STR_ARG(kg_view_str(it.key)));
    if (!fnmatch(pattern, image, 0)) return it.value;
  }
  return (kg_view_t){0};
}

/* For all images alike, or by patterns. */
static int64_t pull_delay(const sim_t *s, kg_str_t name) {
  kg_view_t v = kg_view_get(kg_config(s->ctx), "pull-delay");
  int64_t ms = 0;
  if (kg_view_type(v) == KG_V_MAP) v = matching(s, "pull-delay", name);
  kube_duration_ms(kg_view_str(v), &ms);
  return ms;
}

static bool was_pulled(const sim_t *s, kg_str_t name) {
  return kg_view_there(kg_view_get_str(kg_view_of(s->pulled), name));
}

bool image_there(const sim_t *s, kg_str_t name) {
  return listed(s, "images", name, true) || was_pulled(s, name);
}

static void reply_image(kg_ctx_t *ctx, const kg_msg_t *m, kg_str_t name) {
  char id[80];
  kg_pack_t p = kg_pack();
  image_id(name, id);
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", id);
  kg_pack_kv_int(&p, "size", 0);
  kg_pack_kv_str(&p, "user", "");
  reply_map(ctx, m, &p);
}

static void note_pulled(sim_t *s, kg_str_t name) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  for (kg_iter_t it = kg_iter(kg_view_of(s->pulled)); kg_iter_next(&it);) {
    kg_pack_view(&p, it.key);
    kg_pack_view(&p, it.value);
  }
  kg_pack_strn(&p, name);
  kg_pack_bool(&p, true);
  kg_pack_end(&p);
  kg_doc_unref(s->pulled);
  s->pulled = kg_pack_doc(&p);
}

static void on_pulled(kg_ctx_t *ctx, void *self, void *arg) {
  sim_t *s = self;
  kg_msg_t *m = arg;
  kg_str_t name = kg_view_str(kg_view_get(kg_msg_args(m), "image"));
  kg_str_t why = kg_view_str(matching(s, "pull-error", name));
  if (!why.n && !image_there(s, name)) note_pulled(s, name);
  if (why.n)
    kg_fail(ctx, m, KG_EUNAVAILABLE, KG_STR_FMT, KG_STR_ARG(why));
  else
    reply_image(ctx, m, name);
  kg_msg_unref(m);
}

static void pull(sim_t *s, const kg_msg_t *m, kg_str_t name) {
  if (!image_there(s, name) && !listed(s, "pullable", name, false))
    return kg_fail(s->ctx, m, KG_ENOTFOUND,
                   "failed to pull and unpack image \"" KG_STR_FMT "\": not among the pretended images",
                   KG_STR_ARG(name));
  kg_timer(s->ctx, pull_delay(s, name), 0, on_pulled, kg_msg_ref(m));
}

static void list(sim_t *s, const kg_msg_t *m) {
  kg_pack_t p = kg_pack();
  char id[80];
  kg_pack_map(&p);
  kg_pack_key(&p, "images");
  kg_pack_array(&p);
  for (kg_iter_t it = kg_iter(kg_view_get(kg_config(s->ctx), "images")); kg_iter_next(&it);) {
    kg_str_t name = kg_view_str(it.value);
    if (name.n && memchr(name.p, '*', name.n)) continue;
    image_id(name, id);
    kg_pack_map(&p);
    kg_pack_kv_str(&p, "id", id);
    kg_pack_key(&p, "tags");
    kg_pack_array(&p);
    kg_pack_strn(&p, name);
    kg_pack_end(&p);
    kg_pack_kv_int(&p, "size", 0);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  reply_map(s->ctx, m, &p);
}

void images_handle(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  sim_t *s = self;
  const char *topic = kg_msg_topic(m);
  kg_str_t name = kg_view_str(kg_view_get(kg_msg_args(m), "image"));
  if (!strcmp(topic, "image.list")) return list(s, m);
  if (!strcmp(topic, "image.pull")) return pull(s, m, name);
  if (strcmp(topic, "image.status") != 0)
    return kg_fail(ctx, m, KG_EINVAL, "%s: images of this runtime are pretended: its configuration says which", topic);
  if (!image_there(s, name))
    return kg_fail(ctx, m, KG_ENOTFOUND, "image \"" KG_STR_FMT "\" is not present", KG_STR_ARG(name));
  reply_image(ctx, m, name);
}
