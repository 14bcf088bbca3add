/* Small things. */
#include <stdarg.h>
#include <stdio.h>

#include "node.h"

void set_str(char **at, char *value) {
  free(*at);
  *at = value;
}

char *format(const char *fmt, ...) {
  char *text = NULL;
  va_list ap;
  va_start(ap, fmt);
  if (vasprintf(&text, fmt, ap) < 0) text = NULL;
  va_end(ap);
  return text;
}

void go_duration(int64_t ms, char buf[32]) {
  int64_t s = ms / 1000;
  if (ms < 1000)
    snprintf(buf, 32, "%lldms", (long long)ms);
  else if (s < 60 && ms % 1000)
    snprintf(buf, 32, "%lld.%03llds", (long long)s, (long long)(ms % 1000));
  else if (s < 60)
    snprintf(buf, 32, "%llds", (long long)s);
  else if (s < 3600)
    snprintf(buf, 32, "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
  else
    snprintf(buf, 32, "%lldh%lldm%llds", (long long)(s / 3600), (long long)(s / 60 % 60), (long long)(s % 60));
}

int64_t config_ms(const agent_t *a, const char *key, int64_t fallback) {
  int64_t ms;
  kg_str_t s = VIEW_STR(kg_config(a->ctx), key);
  return s.n && !kube_duration_ms(s, &ms) && ms > 0 ? ms : fallback;
}

void now_text(agent_t *a, char buf[32]) {
  kube_time_format(kg_wall_us(a->ctx), buf);
}
