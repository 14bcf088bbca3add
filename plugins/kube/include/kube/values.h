#ifndef KUBE_VALUES_H
#define KUBE_VALUES_H
/* Values with forms of their own: quantities, times, durations, label and field selectors. Any thread. */
#include "kogge/view.h"

/* "100m", "1Gi", "0.5", "1e3": value in thousandths (milli), saturating at INT64 limits. 0, or -1 if it is no quantity.
 * (k8s.io/apimachinery resource.Quantity) */
int kube_quantity_milli(kg_str_t s, int64_t *milli);
/* Whole units, rounded up. */
int kube_quantity_value(kg_str_t s, int64_t *value);
/* "1,2Ki,3": whole units of each, at most `room` of them; what is no quantity is 0. Returns how many. */
size_t kube_quantity_list(kg_str_t s, int64_t *values, size_t room);
/* Canonical form of a valid quantity as Kubernetes prints it ("0.5" -> "500m", "1024Mi" -> "1Gi"); malloc'ed, NULL if
 * invalid. */
char *kube_quantity_canonical(kg_str_t s);

/* RFC 3339 in UTC, whole seconds: "2026-11-23T10:00:00Z"; micro: with 6 digits. buf of 32 bytes. */
void kube_time_format(int64_t wall_us, char buf[32]);
void kube_time_format_micro(int64_t wall_us, char buf[32]);
int kube_time_parse(kg_str_t s, int64_t *wall_us); /* 0 or -1 */

/* A duration as Go writes it ("1m30s", "500ms", "1.5s") in milliseconds; 0, or -1 if it is none. */
int kube_duration_ms(kg_str_t s, int64_t *ms);

/* Base64 of n bytes, padded, with a NUL, in one line: out has room for KUBE_BASE64_SIZE(n). Returns its length. */
#define KUBE_BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)
size_t kube_base64(char *out, const void *p, size_t n);
/* The bytes, malloc'ed with a NUL after them; what is no digit is passed over. NULL: out of memory. */
char *kube_base64_decode(kg_str_t s, size_t *n);

/* "10.0.0.1" as a number, and "10.0.0.0/8" as its first address and its bits (0 to 32); 0, or -1 if it is none. */
int kube_ipv4(kg_str_t s, uint32_t *address);
int kube_ipv4_range(kg_str_t s, uint32_t *first, unsigned *bits);
/* The addresses a podCIDR (/8 to /30) has for pods: not the network's own, the gateway's and the last. 0, or -1 with
 * err. */
int kube_pod_addresses(kg_str_t cidr, uint32_t *first, uint32_t *count, kg_error_t *err);

/* The tenth address of the services' network, where the dns role serves and pods ask; 0, or -1 if there is none. */
int kube_dns_address(kg_str_t service_cidr, char text[16]);

/* A label selector from its text ("a=b,c in (d,e),!f") or from a LabelSelector object; immutable once made. */
typedef struct kube_selector kube_selector_t;
kube_selector_t *kube_selector_parse(kg_str_t text, kg_error_t *err); /* empty text: matches everything */
/* absent view: matches nothing; empty map: everything */
kube_selector_t *kube_selector_of(kg_view_t label_selector, kg_error_t *err);
/* From a plain map of labels (ReplicationController, Service): absent or empty matches nothing. */
kube_selector_t *kube_selector_of_map(kg_view_t labels);
void kube_selector_free(kube_selector_t *s);
bool kube_selector_matches(const kube_selector_t *s, kg_view_t labels); /* labels may be absent */

/* metadata shortcuts over a full object. */
kg_str_t kube_name(kg_view_t object);
kg_str_t kube_namespace(kg_view_t object);
kg_str_t kube_uid(kg_view_t object);
kg_view_t kube_labels(kg_view_t object);
kg_view_t kube_annotation(kg_view_t object, const char *key);
int64_t kube_generation(kg_view_t object);
bool kube_deleting(kg_view_t object);            /* has a deletionTimestamp */
kg_view_t kube_controller_ref(kg_view_t object); /* the ownerReference with controller: true; absent */
/* The first element of a list of maps that has this text at `key` ("name", "type"); absent if there is none. */
kg_view_t kube_list_find(kg_view_t list, const char *key, kg_str_t text);
kg_view_t kube_condition_of(kg_view_t object, const char *type); /* in its status; absent if there is none */
bool kube_condition_holds(kg_view_t object, const char *type);   /* it is there and "True" */
/* Of two StorageClasses the one that a claim without a class gets: the newer of those that say they are the default, of
 * equals `best`; absent: neither says so. Either may be absent. */
kg_view_t kube_default_class(kg_view_t best, kg_view_t other);
/* Of two StorageClasses the one that a claim without a class gets: the newer of those that say they are the default, of
 * equals `best`; absent: neither says so. Either may be absent. */
kg_view_t kube_default_class(kg_view_t best, kg_view_t other);

#endif
