/* Forms of names and values, complaints in Kubernetes' words. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "validate.h"

#define LABEL_WORDS                                                                                                    \
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with " \
  "an alphanumeric "                                                                                                   \
  "character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define SUBDOMAIN_WORDS                                                                                                \
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and " \
  "end with an "                                                                                                       \
  "alphanumeric character (e.g. 'example.com', regex used for validation is "                                          \
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define SEARCH_WORDS                                                                                                   \
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must "      \
  "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "                    \
  "'_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
#define DNS1035_WORDS                                                                                                  \
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "   \
  "and end with an "                                                                                                   \
  "alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
#define QUALIFIED_WORDS                                                                                                \
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "   \
  "(e.g. 'MyName',  or "                                                                                               \
  "'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define LABEL_VALUE_WORDS                                                                                              \
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "  \
  "end with an "                                                                                                       \
  "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "                 \
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

static bool lower(char c) {
  return c >= 'a' && c <= 'z';
}
static bool digit(char c) {
  return c >= '0' && c <= '9';
}
static bool upper(char c) {
  return c >= 'A' && c <= 'Z';
}

static void too_long(size_t most, kube_complaint_fn complain, void *arg) {
  char text[64];
  snprintf(text, sizeof text, "must be no more than %zu bytes", most);
  complain(arg, text);
}

/* [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool is_label(const char *p, size_t n) {
  if (!n || p[0] == '-' || p[n - 1] == '-') return false;
  for (size_t i = 0; i < n; i++) {
    if (!lower(p[i]) && !digit(p[i]) && p[i] != '-') return false;
  }
  return true;
}

void kube_form_dns1123_label(kg_str_t s, kube_complaint_fn complain, void *arg) {
  if (s.n > 63) too_long(63, complain, arg);
  if (!is_label(s.p, s.n)) complain(arg, LABEL_WORDS);
}

void kube_form_dns1035_label(kg_str_t s, kube_complaint_fn complain, void *arg) {
  if (s.n > 63) too_long(63, complain, arg);
  if (!is_label(s.p, s.n) || !lower(s.p[0])) complain(arg, DNS1035_WORDS);
}

/* _?[a-z0-9]([-_a-z0-9]*[a-z0-9])? */
static bool is_search_label(const char *p, size_t n) {
  if (n && p[0] == '_') p++, n--;
  if (!n || strchr("-_", p[0]) || strchr("-_", p[n - 1])) return false;
  for (size_t i = 0; i < n; i++)
    if (p[i] != '_' && p[i] != '-' && !lower(p[i]) && !digit(p[i])) return false;
  return true;
}

static bool all_labels(kg_str_t s, bool (*is)(const char *p, size_t n)) {
  size_t start = 0;
  for (size_t i = 0; i <= s.n; i++) {
    if (i < s.n && s.p[i] != '.') continue;
    if (!is(s.p + start, i - start)) return false;
    start = i + 1;
  }
  return true;
}

void kube_form_dns1123_subdomain(kg_str_t s, kube_complaint_fn complain, void *arg) {
  if (s.n > 253) too_long(253, complain, arg);
  if (!all_labels(s, is_label)) complain(arg, SUBDOMAIN_WORDS);
}

void kube_form_search_domain(kg_str_t s, kube_complaint_fn complain, void *arg) {
  if (s.n > 253) too_long(253, complain, arg);
  if (!all_labels(s, is_search_label)) complain(arg, SEARCH_WORDS);
}

/* ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9] */
static bool is_name(const char *p, size_t n) {
  if (!n) return false;
  for (size_t i = 0; i < n; i++) {
    bool plain = lower(p[i]) || upper(p[i]) || digit(p[i]);
    if (!plain && (i == 0 || i == n - 1 || !strchr("-_.", p[i]))) return false;
  }
  return true;
}

typedef struct prefixed {
  kube_complaint_fn complain;
  void *arg;
  const char *prefix;
} prefixed_t;

static void complain_prefixed(void *arg, const char *sentence) {
  const prefixed_t *p = arg;
  char text[768];
  snprintf(text, sizeof text, "%s%s", p->prefix, sentence);
  p->complain(p->arg, text);
}

void kube_form_qualified_name(kg_str_t s, kube_complaint_fn complain, void *arg) {
  const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
  kg_str_t name = s;
  if (slash) {
    kg_str_t prefix = {s.p, (size_t)(slash - s.p)};
    name = (kg_str_t){slash + 1, s.n - prefix.n - 1};
    if (name.n && memchr(name.p, '/', name.n)) {
      complain(arg, "a qualified name " QUALIFIED_WORDS
                    " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
      return;
    }
    prefixed_t p = {complain, arg, "prefix part "};
    if (!prefix.n) {
      complain(arg, "prefix part must be non-empty");
    } else {
      kube_form_dns1123_subdomain(prefix, complain_prefixed, &p);
    }
  }
  prefixed_t p = {complain, arg, "name part "};
  if (!name.n) complain_prefixed(&p, "must be non-empty");
  if (name.n > 63) too_long(63, complain_prefixed, &p);
  if (!is_name(name.p, name.n)) complain_prefixed(&p, QUALIFIED_WORDS);
}

void kube_form_label_value(kg_str_t s, kube_complaint_fn complain, void *arg) {
  if (s.n > 63) too_long(63, complain, arg);
  if (s.n && !is_name(s.p, s.n)) complain(arg, LABEL_VALUE_WORDS);
}

/* --- others
 * ----------------------------------------------------------------------------------------------------------------- */

/* Names that become a segment of a URL. */
void kube_form_path_segment(kg_str_t s, kube_complaint_fn complain, void *arg) {
  if (kg_str_is(s, ".") || kg_str_is(s, "..")) {
    char text[32];
    snprintf(text, sizeof text, "may not be '" KG_STR_FMT "'", KG_STR_ARG(s));
    complain(arg, text);
    return;
  }
  if (s.n && memchr(s.p, '/', s.n)) complain(arg, "may not contain '/'");
  if (s.n && memchr(s.p, '%', s.n)) complain(arg, "may not contain '%'");
}

/* Since 1.32: any printable ASCII but '='. */
void kube_form_env_name(kg_str_t s, kube_complaint_fn complain, void *arg) {
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == '=') {
      complain(arg, "a valid environment variable name must consist only of printable ASCII characters other than '='");
      return;
    }
  }
}

void kube_form_config_key(kg_str_t s, kube_complaint_fn complain, void *arg) {
  if (s.n > 253) too_long(253, complain, arg);
  bool good = s.n > 0;
  for (size_t i = 0; i < s.n; i++)
    good = good && (lower(s.p[i]) || upper(s.p[i]) || digit(s.p[i]) || strchr("-_.", s.p[i]));
  if (!good) {
    complain(arg, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                  "'KEY_NAME',  or "
                  "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
  } else if (kg_str_is(s, ".") || kg_str_is(s, "..")) {
    complain(arg, s.n == 1 ? "must not be '.'" : "must not be '..'");
  } else if (s.n > 2 && s.p[0] == '.' && s.p[1] == '.') {
    complain(arg, "must not start with '..'");
  }
}

static bool is_ip(kg_str_t s, int *family) {
  char text[64];
  unsigned char out[16];
  if (s.n >= sizeof text) return false;
  memcpy(text, s.p ? s.p : "", s.n);
  text[s.n] = 0;
  *family = inet_pton(AF_INET, text, out) == 1 ? 4 : inet_pton(AF_INET6, text, out) == 1 ? 6 : 0;
  return *family != 0;
}
void kube_form_ip(kg_str_t s, kube_complaint_fn complain, void *arg) {
  int family;
  if (!is_ip(s, &family)) complain(arg, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}
void kube_form_ipv4(kg_str_t s, kube_complaint_fn complain, void *arg) {
  int family = 0;
  if (!is_ip(s, &family) || family != 4) complain(arg, "must be a valid IPv4 address");
}
void kube_form_cidr(kg_str_t s, kube_complaint_fn complain, void *arg) {
  const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
  int family = 0;
  bool good = slash && is_ip((kg_str_t){s.p, (size_t)(slash - s.p)}, &family);
  long bits = 0;
  const char *p = slash ? slash + 1 : s.p, *end = s.p + s.n;
  good = good && p < end && end - p <= 3;
  for (; good && p < end; p++) {
    good = digit(*p);
    bits = bits * 10 + (*p - '0');
  }
  if (!good || bits > (family == 4 ? 32 : 128)) {
    complain(arg, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
  }
}

/* IANA_SVC_NAME of a container port */
void kube_form_port_name(kg_str_t s, kube_complaint_fn complain, void *arg) {
  bool letters = false, good = s.n > 0, twice = false;
  for (size_t i = 0; i < s.n; i++) {
    letters = letters || lower(s.p[i]);
    good = good && (lower(s.p[i]) || digit(s.p[i]) || s.p[i] == '-');
    twice = twice || (i && s.p[i] == '-' && s.p[i - 1] == '-');
  }
  if (s.n > 15) complain(arg, "must be no more than 15 characters");
  if (!good) complain(arg, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!letters) complain(arg, "must contain at least one letter (a-z)");
  if (twice) complain(arg, "must not contain consecutive hyphens");
  if (s.n && (s.p[0] == '-' || s.p[s.n - 1] == '-')) complain(arg, "must not begin or end with a hyphen");
}

void kube_form_percent(kg_str_t s, kube_complaint_fn complain, void *arg) {
  bool good = s.n > 1 && s.p[s.n - 1] == '%';
  for (size_t i = 0; i + 1 < s.n; i++) good = good && digit(s.p[i]);
  if (!good) {
    complain(arg, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                  "regex used for "
                  "validation is '[0-9]+%')");
  }
}

/* A token of HTTP. */
void kube_form_header_name(kg_str_t s, kube_complaint_fn complain, void *arg) {
  bool good = s.n > 0;
  for (size_t i = 0; i < s.n; i++) good = good && (lower(s.p[i]) || upper(s.p[i]) || digit(s.p[i]) || s.p[i] == '-');
  if (!good)
    complain(arg,
             "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for "
             "validation is '[-A-Za-z0-9]+')");
}
