/* The options of pods/log: read from the query, checked, and packed for the node. */
#include <errno.h>

#include "kube/values.h"
#include "pod.h"

typedef struct complaints {
  kube_buf_t text, causes;
  size_t n;
} complaints_t;

static void complain(complaints_t *c, const char *field, const char *reason, const char *message) {
  kube_buf_fmt(&c->text, "%s%s: %s", c->n ? ", " : "", field, message);
  kube_buf_fmt(&c->causes, "%s{\"reason\":\"%s\",\"message\":", c->n++ ? "," : "", reason);
  kube_json_string(&c->causes, kg_str(message));
  kube_buf_fmt(&c->causes, ",\"field\":\"%s\"}", field);
}

/* 422 with all of them; the exchange is gone. */
static void refuse(gw_ex_t *ex, complaints_t *c) {
  kube_buf_t details = {0};
  kube_buf_addz(&details, "{\"name\":");
  kube_json_string(&details, kg_str(ex->route.name));
  kube_buf_fmt(&details, ",\"kind\":\"PodLogOptions\",\"causes\":[%.*s]}", (int)c->causes.n, c->causes.p);
  kube_buf_add(&details, "", 1);
  gw_status(ex, 422, "Invalid", details.failed ? NULL : details.p, "PodLogOptions \"%s\" is invalid: %s%.*s%s",
            ex->route.name, c->n > 1 ? "[" : "", (int)c->text.n, c->text.p ? c->text.p : "", c->n > 1 ? "]" : "");
  kube_buf_free(&details);
}

/* A whole number, if the query has it: *there. -1: it is none, and the exchange was answered. */
static int number(gw_ex_t *ex, const char *name, bool *there, int64_t *value) {
  char *text = gw_query(ex, name, NULL), *end = NULL;
  *there = text != NULL;
  if (!text) return 0;
  errno = 0;
  *value = strtoll(text, &end, 10);
  bool digits = *text && !*end && !strchr(" \t\n\v\f\r", *text);
  if (!digits || errno)
    gw_status(ex, 400, "BadRequest", NULL, "strconv.ParseInt: parsing \"%s\": %s", text,
              digits ? "value out of range" : "invalid syntax");
  free(text);
  return digits && !errno ? 0 : -1;
}

static int since_time(gw_ex_t *ex, kg_pack_t *p, bool *there) {
  int64_t at;
  char *text = gw_query(ex, "sinceTime", NULL);
  *there = text && *text && strcmp(text, "null") != 0;
  bool good = !*there || !kube_time_parse(kg_str(text), &at);
  if (!good)
    gw_status(ex, 400, "BadRequest", NULL,
              "parsing time \"%s\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"%s\" as \"2006\"", text, text);
  else if (*there)
    kg_pack_kv_str(p, "sinceTime", text);
  free(text);
  return good ? 0 : -1;
}

static void check_number(complaints_t *c, const char *name, int64_t value, int64_t least) {
  char text[96];
  snprintf(text, sizeof text, "Invalid value: %lld: must be greater than%s 0", (long long)value,
           least ? "" : " or equal to");
  if (value < least) complain(c, name, "FieldValueInvalid", text);
}

int gw_log_options(gw_ex_t *ex, kg_pack_t *p) {
  static const char *const flags[] = {"follow", "previous", "timestamps"};
  static const char *const names[] = {"tailLines", "limitBytes", "sinceSeconds"};
  bool there[3], since;
  int64_t values[3] = {0};
  for (size_t i = 0; i < 3; i++) {
    kg_pack_kv_bool(p, flags[i], gw_query_bool(ex, flags[i]));
    if (number(ex, names[i], &there[i], &values[i])) return -1;
    if (there[i]) kg_pack_kv_int(p, names[i], values[i]);
  }
  if (since_time(ex, p, &since)) return -1;
  complaints_t c = {0};
  for (size_t i = 0; i < 3; i++)
    if (there[i] && !(i == 2 && since)) check_number(&c, names[i], values[i], i > 0);
  if (there[2] && since)
    complain(&c, "", "FieldValueForbidden", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified");
  char *stream = gw_query(ex, "stream", NULL);
  if (stream) complain(&c, "stream", "FieldValueForbidden", "Forbidden: may not be specified");
  free(stream);
  if (c.n) refuse(ex, &c);
  kube_buf_free(&c.text);
  kube_buf_free(&c.causes);
  return c.n ? -1 : 0;
}
