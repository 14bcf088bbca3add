#include "harness.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kube/values.h"

enum { PATIENCE_MS = 10000, LOOK_MS = 10 };

struct cluster {
  driver_t *d;
  char dir[64], run[80];
};

cluster_t *cluster_new(const char *config, const char *const *controllers) {
  cluster_t *c = calloc(1, sizeof *c);
  snprintf(c->dir, sizeof c->dir, "/tmp/kogge-controllers-XXXXXX");
  cr_assert(mkdtemp(c->dir));
  snprintf(c->run, sizeof c->run, "%s/run", c->dir);
  c->d = driver_new(c->dir, c->run);
  driver_load(c->d, "store", "store-memory.so", NULL);
  driver_load(c->d, "api", "api.so", NULL);
  for (; *controllers; controllers++) {
    char file[80];
    snprintf(file, sizeof file, "%s.so", *controllers);
    driver_load(c->d, *controllers, file, config);
  }
  return c;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)type, (void)ftw;
  return remove(path);
}

void cluster_free(cluster_t *c) {
  driver_free(c->d);
  nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  free(c);
}

driver_t *cluster_driver(cluster_t *c) {
  return c->d;
}

void pause_ms(int ms) {
  usleep((useconds_t)ms * 1000);
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

static char *quoted(const char *fmt, va_list ap) {
  char *text;
  cr_assert(vasprintf(&text, fmt, ap) >= 0);
  for (char *p = text; *p; p++)
    if (*p == '\'') *p = '"';
  return text;
}

kg_doc_t *json(const char *fmt, ...) {
  va_list ap;
  kg_error_t err = {0};
  va_start(ap, fmt);
  char *text = quoted(fmt, ap);
  va_end(ap);
  kg_doc_t *doc = kube_json_parse(text, strlen(text), NULL, NULL, &err);
  cr_assert(doc, "%s: %s", text, err.text);
  free(text);
  return doc;
}

/* The arguments every request has, an open object. */
static int common(char *buf, size_t room, const char *resource, const char *ns, const char *name) {
  char group[64] = "", version[32], plural[64];
  if (sscanf(resource, "%63[^/]/%31[^/]/%63s", group, version, plural) != 3) {
    *group = '\0';
    cr_assert(sscanf(resource, "%31[^/]/%63s", version, plural) == 2);
  }
  int n = snprintf(buf, room, "{\"g\":\"%s\",\"v\":\"%s\",\"r\":\"%s\"", group, version, plural);
  if (ns && *ns) n += snprintf(buf + n, room - (size_t)n, ",\"ns\":\"%s\"", ns);
  if (name) n += snprintf(buf + n, room - (size_t)n, ",\"name\":\"%s\"", name);
  return n;
}

static kg_msg_t *request(cluster_t *c, const char *topic, const char *resource, const char *ns, const char *name,
                         const char *more, const char *doc) {
  char args[1024];
  int n = common(args, sizeof args, resource, ns, name);
  snprintf(args + n, sizeof args - (size_t)n, "%s}", more ? more : "");
  return driver_call(c->d, "api", topic, args, doc);
}

static void must(kg_msg_t *m, const char *what, const char *doc) {
  cr_assert(kg_msg_type(m) == KG_MSG_REPLY, "%s: %d %s\n%s", what, kg_msg_code(m), kg_msg_text(m), doc ? doc : "");
  kg_msg_unref(m);
}

void make(cluster_t *c, const char *resource, const char *ns, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char *doc = quoted(fmt, ap);
  va_end(ap);
  must(request(c, "api.create", resource, ns, NULL, NULL, doc), resource, doc);
  free(doc);
}

void patch(cluster_t *c, const char *resource, const char *ns, const char *name, const char *sub, const char *fmt,
           ...) {
  char more[128];
  va_list ap;
  va_start(ap, fmt);
  char *doc = quoted(fmt, ap);
  va_end(ap);
  snprintf(more, sizeof more, ",\"patch\":\"merge\",\"fieldManager\":\"test\"%s%s%s", sub ? ",\"sub\":\"" : "",
           sub ? sub : "", sub ? "\"" : "");
  must(request(c, "api.patch", resource, ns, name, more, doc), name, doc);
  free(doc);
}

void del(cluster_t *c, const char *resource, const char *ns, const char *name, const char *propagation) {
  char more[96] = "";
  if (propagation) snprintf(more, sizeof more, ",\"propagationPolicy\":\"%s\"", propagation);
  must(request(c, "api.delete", resource, ns, name, more, NULL), name, NULL);
}

int post_sub(cluster_t *c, const char *resource, const char *ns, const char *name, const char *sub, const char *text) {
  char more[96], *doc = strdup(text);
  for (char *p = doc; *p; p++)
    if (*p == '\'') *p = '"';
  if (*sub)
    snprintf(more, sizeof more, ",\"sub\":\"%s\"", sub);
  else
    *more = '\0';
  kg_msg_t *m = request(c, "api.create", resource, ns, name, more, doc);
  int code = kg_msg_type(m) == KG_MSG_REPLY ? (int)reply_int(m, "code") : kg_msg_code(m);
  kg_msg_unref(m);
  free(doc);
  return code;
}

kg_msg_t *fetch(cluster_t *c, const char *resource, const char *ns, const char *name) {
  kg_msg_t *m = request(c, "api.get", resource, ns, name, NULL, NULL);
  if (kg_msg_type(m) == KG_MSG_REPLY) return m;
  cr_assert(kg_msg_code(m) == 404, "%s %s: %s", resource, name, kg_msg_text(m));
  kg_msg_unref(m);
  return NULL;
}

kg_msg_t *list(cluster_t *c, const char *resource, const char *ns, const char *labels) {
  char more[256] = "";
  if (labels) snprintf(more, sizeof more, ",\"labelSelector\":\"%s\"", labels);
  kg_msg_t *m = request(c, "api.list", resource, ns, NULL, more, NULL);
  cr_assert(kg_msg_type(m) == KG_MSG_REPLY, "%s: %s", resource, kg_msg_text(m));
  return m;
}

size_t count(cluster_t *c, const char *resource, const char *ns, const char *labels) {
  kg_msg_t *m = list(c, resource, ns, labels);
  size_t n = kg_msg_ndocs(m);
  kg_msg_unref(m);
  return n;
}

/* --- expectations ------------------------------------------------------------------------------------------------ */

static kg_view_t element(kg_view_t array, const char *key) {
  const char *equals = strchr(key, '=');
  if (!equals) return kg_view_at(array, (size_t)atoi(key));
  for (kg_iter_t it = kg_iter(array); kg_iter_next(&it);) {
    kg_str_t v = kg_view_str(kg_view_get_str(it.value, (kg_str_t){key, (size_t)(equals - key)}));
    if (kg_str_is(v, equals + 1)) return it.value;
  }
  return (kg_view_t){0};
}

kg_view_t at(kg_view_t v, const char *path) {
  char key[256];
  while (*path && kg_view_there(v)) {
    size_t n = strcspn(path, ">");
    snprintf(key, sizeof key, "%.*s", (int)n, path);
    v = kg_view_type(v) == KG_V_ARRAY ? element(v, key) : kg_view_get(v, key);
    path += n + (path[n] == '>');
  }
  return v;
}

static bool holds(cluster_t *c, const char *resource, const char *ns, const char *name, const char *path,
                  kg_doc_t *want) {
  kg_msg_t *m = fetch(c, resource, ns, name);
  kg_view_t v = m ? at(kg_view_of(kg_msg_doc(m, 0)), path) : (kg_view_t){0};
  bool ok = want ? kg_view_there(v) && kg_view_equal(v, kg_view_of(want)) : m && !kg_view_there(v);
  kg_msg_unref(m);
  return ok;
}

static void give_up(cluster_t *c, const char *resource, const char *ns, const char *name, const char *path,
                    const char *want) {
  kg_msg_t *m = fetch(c, resource, ns, name);
  char *text = m ? doc_json(m, 0) : strdup("is not there");
  cr_assert_fail("%s %s/%s: %s is not %s\n%s", resource, ns, name, path, want ? want : "absent", text);
}

void expect(cluster_t *c, const char *resource, const char *ns, const char *name, const char *path, const char *want) {
  kg_doc_t *doc = want ? json("%s", want) : NULL;
  int left = PATIENCE_MS / LOOK_MS;
  while (!holds(c, resource, ns, name, path, doc)) {
    if (!left--) give_up(c, resource, ns, name, path, want);
    pause_ms(LOOK_MS);
  }
  kg_doc_unref(doc);
}

void settle(cluster_t *c, const char *resource, const char *ns, const char *name, const char *path, const char *want) {
  kg_doc_t *doc = want ? json("%s", want) : NULL;
  int left = PATIENCE_MS / LOOK_MS;
  while (!holds(c, resource, ns, name, path, doc)) {
    if (!left--) give_up(c, resource, ns, name, path, want);
    kubelet(c, ns);
    pause_ms(LOOK_MS);
  }
  kg_doc_unref(doc);
}

void expect_there(cluster_t *c, const char *resource, const char *ns, const char *name) {
  char want[300];
  snprintf(want, sizeof want, "'%s'", name);
  expect(c, resource, ns, name, "metadata>name", want);
}

static bool is_there(cluster_t *c, const char *resource, const char *ns, const char *name) {
  kg_msg_t *m = fetch(c, resource, ns, name);
  kg_msg_unref(m);
  return m != NULL;
}

void expect_gone(cluster_t *c, const char *resource, const char *ns, const char *name) {
  for (int i = 0; i < PATIENCE_MS / LOOK_MS && is_there(c, resource, ns, name); i++) pause_ms(LOOK_MS);
  kg_msg_t *m = fetch(c, resource, ns, name);
  cr_assert(!m, "%s %s/%s is still there:\n%s", resource, ns, name, doc_json(m, 0));
}

void expect_count(cluster_t *c, const char *resource, const char *ns, const char *labels, size_t n) {
  for (int i = 0; i < PATIENCE_MS / LOOK_MS && count(c, resource, ns, labels) != n; i++) pause_ms(LOOK_MS);
  size_t now = count(c, resource, ns, labels);
  cr_assert(now == n, "%s in %s (%s): %zu instead of %zu", resource, ns, labels ? labels : "all", now, n);
}

void stays_count(cluster_t *c, const char *resource, const char *ns, const char *labels, size_t n, int ms) {
  for (int i = 0; i < ms / LOOK_MS; i++, pause_ms(LOOK_MS)) {
    size_t now = count(c, resource, ns, labels);
    cr_assert(now == n, "%s in %s (%s): %zu instead of %zu", resource, ns, labels ? labels : "all", now, n);
  }
}

static bool event_there(cluster_t *c, const char *ns, const char *object, const char *reason, const char *message) {
  kg_msg_t *m = list(c, "v1/events", ns, NULL);
  bool found = false;
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) {
    kg_view_t e = kg_view_of(kg_msg_doc(m, i));
    found |= kg_str_is(kg_view_str(at(e, "involvedObject>name")), object) &&
             kg_str_is(kg_view_str(at(e, "reason")), reason) &&
             (!message || kg_str_is(kg_view_str(at(e, "message")), message));
  }
  kg_msg_unref(m);
  return found;
}

void expect_event(cluster_t *c, const char *ns, const char *object, const char *reason, const char *message) {
  for (int i = 0; i < PATIENCE_MS / LOOK_MS && !event_there(c, ns, object, reason, message); i++) pause_ms(LOOK_MS);
  if (event_there(c, ns, object, reason, message)) return;
  kg_msg_t *m = list(c, "v1/events", ns, NULL);
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) fprintf(stderr, "%s\n", doc_json(m, i));
  cr_assert_fail("no event %s (%s) of %s", reason, message ? message : "", object);
}

/* --- the node ---------------------------------------------------------------------------------------------------- */

static void force_delete(cluster_t *c, const char *ns, const char *name, bool ended) {
  kg_msg_t *m = ended ? NULL
                      : request(c, "api.patch", "v1/pods", ns, name, ",\"patch\":\"merge\",\"sub\":\"status\"",
                                "{\"status\":{\"phase\":\"Failed\"}}");
  kg_msg_unref(m);
  m = request(c, "api.delete", "v1/pods", ns, name, ",\"gracePeriodSeconds\":0", NULL);
  kg_msg_unref(m);
}

static int play(cluster_t *c, const char *ns, kg_view_t pod) {
  char name[256], now[32];
  snprintf(name, sizeof name, KG_STR_FMT, KG_STR_ARG(kube_name(pod)));
  kg_str_t phase = kg_view_str(at(pod, "status>phase"));
  if (kube_deleting(pod))
    return force_delete(c, ns, name, kg_str_is(phase, "Failed") || kg_str_is(phase, "Succeeded")), 1;
  if (!kg_str_is(phase, "Pending")) return 0;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  kube_time_format(t.tv_sec * 1000000LL, now);
  char doc[1024];
  snprintf(
      doc, sizeof doc,
      "{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.%d\",\"podIPs\":[{\"ip\":\"10.0.0.%d\"}],"
      "\"startTime\":\"%s\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"%s\"}],"
      "\"containerStatuses\":[{\"name\":\"c\",\"ready\":true,\"restartCount\":0,\"image\":\"i\",\"imageID\":\"\","
      "\"state\":{\"running\":{\"startedAt\":\"%s\"}}}]}}",
      name[strlen(name) - 1] % 200 + 1, name[strlen(name) - 1] % 200 + 1, now, now, now);
  kg_msg_t *m = request(c, "api.patch", "v1/pods", ns, name, ",\"patch\":\"merge\",\"sub\":\"status\"", doc);
  kg_msg_unref(m); /* it may have gone by now */
  return 1;
}

int kubelet(cluster_t *c, const char *ns) {
  kg_msg_t *m = list(c, "v1/pods", ns, NULL);
  int n = 0;
  for (size_t i = 0; i < kg_msg_ndocs(m); i++) n += play(c, ns, kg_view_of(kg_msg_doc(m, i)));
  kg_msg_unref(m);
  return n;
}

void finish_pod(cluster_t *c, const char *ns, const char *pod, const char *phase, int code) {
  patch(c, "v1/pods", ns, pod, "status",
        "{'status':{'phase':'%s','conditions':[{'type':'Ready','status':'False'}],'containerStatuses':[{'name':'c',"
        "'ready':false,'restartCount':0,'image':'i','imageID':'','state':{'terminated':{'exitCode':%d,"
        "'startedAt':'2026-01-01T00:00:00Z','finishedAt':'2026-01-01T00:00:01Z'}}}]}}",
        phase, code);
}
