/* The image of a container: is it here, may it be fetched; then the container is made of it and started. */
#include <ctype.h>
#include <stdio.h>

#include "node.h"

enum {
  SECRETS_MS = 200,
  PULL_FIRST_MS = 10 * 1000,
  PULL_LAST_MS = 300 * 1000,
  CREATE_TIMEOUT_MS = 120 * 1000,
  RETRY_MS = 10 * 1000,
  SOON_MS = 1000
};

static void look_for(box_t *b);

static void retry_in(box_t *b, int64_t ms) {
  b->step = STEP_IDLE;
  b->pull_call = 0;
  b->retry_ms = kg_now_ms(b->pod->agent->ctx) + ms;
  pod_kick(b->pod);
}

/* The n-th of the volumes it mounts that are images, from 1; absent: there are fewer. */
static kg_view_t image_volume(const box_t *b, unsigned n) {
  for (kg_iter_t it = kg_iter(kg_view_get(box_spec(b), "volumeMounts")); kg_iter_next(&it);) {
    kg_view_t image = kg_view_get(volume_named(b->pod, VIEW_STR(it.value, "name")), "image");
    if (kg_view_type(image) == KG_V_MAP && --n == 0) return image;
  }
  return (kg_view_t){0};
}

/* The one that is next to be there: those of volumes come first, then its own. */
static kg_str_t image_of(const box_t *b) {
  return b->images_left ? VIEW_STR(image_volume(b, b->images_left), "reference") : VIEW_STR(box_spec(b), "image");
}

static kg_str_t policy_of(const box_t *b) {
  return b->images_left ? VIEW_STR(image_volume(b, b->images_left), "pullPolicy")
                        : VIEW_STR(box_spec(b), "imagePullPolicy");
}

/* The runtime itself does not answer: nothing was wrong with the container. */
static bool not_there(const kg_msg_t *m) {
  return kg_msg_code(m) == KG_EUNAVAILABLE || kg_msg_code(m) == KG_EDEADLINE;
}

/* --- the name
 * --------------------------------------------------------------------------------------------------------- */

/* Path components of lower case letters and digits with separators inside, an optional tag, an optional digest. */
static bool component_is_good(const char *p, size_t n, bool host) {
  if (!n || !isalnum((unsigned char)p[0]) || !isalnum((unsigned char)p[n - 1])) return false;
  for (size_t i = 0; i < n; i++) {
    bool fine = islower((unsigned char)p[i]) || isdigit((unsigned char)p[i]) || (p[i] && strchr("._-", p[i])) ||
                (host && (isupper((unsigned char)p[i]) || p[i] == ':'));
    if (!fine) return false;
  }
  return true;
}

static bool tag_is_good(const char *p, size_t n) {
  if (!n || n > 128 || !(isalnum((unsigned char)p[0]) || p[0] == '_')) return false;
  for (size_t i = 0; i < n; i++)
    if (!isalnum((unsigned char)p[i]) && (!p[i] || !strchr("._-", p[i]))) return false;
  return true;
}

static bool name_is_good(kg_str_t name) {
  const char *p = name.p, *end = p + name.n, *at = name.n ? memchr(p, '@', name.n) : NULL;
  if (at) {
    const char *colon = memchr(at, ':', (size_t)(end - at));
    if (!colon || end - colon < 33) return false;
    end = at;
  }
  const char *slash = memrchr(p, '/', (size_t)(end - p)), *last = slash ? slash + 1 : p;
  const char *tag = memchr(last, ':', (size_t)(end - last));
  if (tag && !tag_is_good(tag + 1, (size_t)(end - tag - 1))) return false;
  if (tag) end = tag;
  for (bool first = true; p <= end; first = false) {
    const char *next = memchr(p, '/', (size_t)(end - p));
    size_t n = (size_t)((next ? next : end) - p);
    bool host = first && next && (memchr(p, '.', n) || memchr(p, ':', n) || (n == 9 && !memcmp(p, "localhost", 9)));
    if (!component_is_good(p, n, host)) return false;
    p += n + 1;
  }
  return true;
}

/* This one is here: the next, or the container is made. */
static void image_here(box_t *b, kg_view_t status) {
  if (!b->images_left) {
    set_str(&b->image_user, kg_str_dup(VIEW_STR(status, "user")));
    return box_create(b);
  }
  b->images_left--;
  look_for(b);
}

/* --- pull
 * -------------------------------------------------------------------------------------------------------------- */

static void pull_failed(box_t *b, const char *text) {
  kg_str_t image = image_of(b);
  b->pull_ms = !b->pull_ms ? PULL_FIRST_MS : 2 * b->pull_ms < PULL_LAST_MS ? 2 * b->pull_ms : PULL_LAST_MS;
  b->pull_failed_ms = kg_now_ms(b->pod->agent->ctx);
  set_str(&b->pull_error, strdup(text));
  box_event(b, "Warning", "Failed", "Failed to pull image \"" KG_STR_FMT "\": %s", KG_STR_ARG(image), text);
  box_event(b, "Warning", "Failed", "Error: ErrImagePull");
  box_wait(b, "ErrImagePull", "%s", text);
  retry_in(b, b->pull_ms);
}

static void pulled_status(pod_t *p, box_t *b, const kg_msg_t *m) {
  char took[32];
  kg_str_t image = image_of(b);
  kg_view_t args = kg_msg_args(m);
  if (kg_msg_type(m) != KG_MSG_REPLY) return pull_failed(b, kg_msg_text(m));
  go_duration((kg_wall_us(p->agent->ctx) - b->pull_began_us) / 1000, took);
  box_event(b, "Normal", "Pulled",
            "Successfully pulled image \"" KG_STR_FMT "\" in %s (%s including waiting). Image size: %lld bytes.",
            KG_STR_ARG(image), took, took, (long long)kg_view_int(kg_view_get(args, "size"), 0));
  b->pull_ms = 0;
  set_str(&b->pull_error, NULL);
  image_here(b, args);
}

static kg_doc_t *image_args(const box_t *b) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_strn(&k, "image", image_of(b));
  kg_pack_end(&k);
  return kg_pack_doc(&k);
}

static void pulled(pod_t *p, box_t *b, const kg_msg_t *m) {
  if (kg_msg_code(m) == KG_ECANCELLED) return retry_in(b, SOON_MS); /* the runtime leaves: its successor begins anew */
  if (kg_msg_type(m) != KG_MSG_REPLY) return pull_failed(b, kg_msg_text(m));
  b->pull_call = pod_call(p, b, "image.status", image_args(b), 0, pulled_status);
}

static kg_doc_t *pull_args(const box_t *b, kg_doc_t *auth) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_strn(&k, "image", image_of(b));
  if (auth) kg_pack_kv_view(&k, "auth", kg_view_of(auth));
  kg_pack_end(&k);
  kg_doc_unref(auth);
  return kg_pack_doc(&k);
}

static void pull(box_t *b) {
  kg_doc_t *auth;
  if (pull_auth(b->pod, image_of(b), &auth)) {
    return retry_in(b, SECRETS_MS);
  }
  b->step = STEP_PULL;
  b->pull_began_us = kg_wall_us(b->pod->agent->ctx);
  box_event(b, "Normal", "Pulling", "Pulling image \"" KG_STR_FMT "\"", KG_STR_ARG(image_of(b)));
  b->pull_call = pod_call(b->pod, b, "image.pull", pull_args(b, auth), -1, pulled); /* the runtime limits it */
}

static void refuse(box_t *b, const char *reason, const char *event, const char *text) {
  box_event(b, "Warning", event, "%s", text);
  box_event(b, "Warning", "Failed", "Error: %s", reason);
  box_wait(b, reason, "%s", text);
  retry_in(b, RETRY_MS);
}

static void status_known(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)p;
  kg_str_t image = image_of(b), policy = policy_of(b);
  bool here = kg_msg_type(m) == KG_MSG_REPLY;
  if (!here && not_there(m)) return retry_in(b, SOON_MS);
  if (kg_str_is(policy, "Always") || (!here && !kg_str_is(policy, "Never"))) return pull(b);
  if (here) {
    box_event(b, "Normal", "Pulled",
              "Container image \"" KG_STR_FMT "\" already present on machine and can be accessed by the pod",
              KG_STR_ARG(image));
    return image_here(b, kg_msg_args(m));
  }
  char *text = format("Container image \"" KG_STR_FMT "\" is not present with pull policy of Never", KG_STR_ARG(image));
  refuse(b, "ErrImageNeverPull", "ErrImageNeverPull", text);
  free(text);
}

static void look_for(box_t *b) {
  kg_str_t image = image_of(b);
  if (!name_is_good(image)) {
    char *text = format("Failed to apply default image tag \"" KG_STR_FMT "\": couldn't parse image name \"" KG_STR_FMT
                        "\": invalid reference format",
                        KG_STR_ARG(image), KG_STR_ARG(image));
    refuse(b, "InvalidImageName", "InspectFailed", text);
    free(text);
    return;
  }
  b->step = STEP_IMAGE;
  b->pull_call = pod_call(b->pod, b, "image.status", image_args(b), 0, status_known);
}

void box_image(box_t *b) {
  set_str(&b->image, kg_str_dup(VIEW_STR(box_spec(b), "image")));
  b->images_left = 0;
  while (kg_view_there(image_volume(b, b->images_left + 1))) b->images_left++;
  look_for(b);
}

/* --- create, start
 * ------------------------------------------------------------------------------------------------------- */

static void start_failed(box_t *b, const kg_msg_t *m) {
  char *text = strdup(kg_msg_text(m));
  box_event(b, "Warning", "Failed", "Error: %s", text);
  box_exited(b, 128, false, 0, 0, true);
  b->end.reason = "StartError";
  b->end.started_us = 0; /* not the start of the one before */
  set_str(&b->end.message, strdup(text));
  box_wait(b, "RunContainerError", "%s", text);
  free(text);
}

static void started(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)p;
  if (b->state == BOX_EXITED) { /* and its end is known already */
    b->step = STEP_IDLE;
    return;
  }
  if (kg_msg_type(m) == KG_MSG_REPLY) return box_is_running(b, kg_view_int(kg_view_get(kg_msg_args(m), "started"), 0));
  agent_relist(b->pod->agent, SOON_MS);
  if (kg_msg_code(m) == KG_ENOTFOUND) return box_lost(b); /* what made it has gone */
  if (!not_there(m)) return start_failed(b, m);
  retry_in(b, SOON_MS);
}

static int64_t next_attempt(const box_t *b) {
  return b->state == BOX_EXITED ? b->attempt + 1 : b->attempt;
}

/* From here on the one before it is history. */
static void now_made(box_t *b, const char *id) {
  if (b->state == BOX_EXITED) {
    free(b->last.id);
    free(b->last.message);
    b->last = b->end;
    b->end = (box_end_t){0};
    b->attempt++;
  }
  b->state = BOX_NONE;
  b->renewing = b->lost = false;
  b->in_sandbox = b->pod->sandbox_attempt;
  set_str(&b->id, strdup(id));
}

static void created(box_t *b, kg_view_t args) {
  char *id = kg_str_dup(VIEW_STR(args, "id"));
  now_made(b, id ? id : "");
  free(id);
  set_str(&b->image_id, kg_str_dup(VIEW_STR(args, "imageID")));
  box_user_known(b, args);
  box_event(b, "Normal", "Created", "Container created");
  b->step = pod_ending(b->pod) ? STEP_IDLE : STEP_START;
  if (b->step == STEP_START) pod_call(b->pod, b, "runtime.container.start", id_args(b->id), CREATE_TIMEOUT_MS, started);
}

/* Its program cannot be run: it ended before it began. */
static void ended_unborn(box_t *b, const kg_msg_t *m) {
  char id[512];
  box_id(b->pod, b->name, next_attempt(b), id, sizeof id);
  now_made(b, id);
  box_user_known(b, (kg_view_t){0});
  start_failed(b, m);
}

static void made(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)p;
  if (kg_msg_type(m) == KG_MSG_REPLY) return created(b, kg_msg_args(m));
  if (kg_msg_code(m) == KG_EDENIED) return ended_unborn(b, m);
  if (not_there(m)) return retry_in(b, SOON_MS);
  box_event(b, "Warning", "Failed", "Error: %s", kg_msg_text(m));
  box_wait(b, "CreateContainerError", "%s", kg_msg_text(m));
  retry_in(b, RETRY_MS);
}

static void config_error(box_t *b, const kg_error_t *err) {
  if (err->code == KG_EUNAVAILABLE) return retry_in(b, 100); /* it is not known yet */
  box_event(b, "Warning", "Failed", "Error: %s", err->text);
  box_wait(b, "CreateContainerConfigError", "%s", err->text);
  retry_in(b, RETRY_MS);
}

void box_create(box_t *b) {
  kg_error_t err = {0};
  pod_t *p = b->pod;
  b->step = STEP_CREATE;
  b->pull_call = 0;
  kg_doc_t *args = etc_files(p, &err) ? NULL : box_args(b, next_attempt(b), &err);
  if (!args) return config_error(b, &err);
  box_amounts_apply(b);
  pod_limits_follow(p);
  pod_call(p, b, "runtime.container.create", args, CREATE_TIMEOUT_MS, made);
}
