/* Cells of the remaining kinds: access control, autoscaling, certificates, flow control, admission. */
#include <stdio.h>
#include <string.h>

#include "kube/values.h"
#include "table_cell.h"

static void role_ref(const kube_cell_t *c) {
  kg_pack_fmt(c->p, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(kube_view_text(c->o, "roleRef.kind")),
              KG_STR_ARG(kube_view_text(c->o, "roleRef.name")));
}
static void subjects(const kube_cell_t *c, const char *kind) {
  kube_buf_t b = {0};
  for (kg_iter_t it = kg_iter(kg_view_get(c->o, "subjects")); kg_iter_next(&it);) {
    if (!kg_str_is(kube_view_text(it.value, "kind"), kind)) continue;
    if (b.n) kube_buf_addz(&b, ", ");
    if (kind[0] == 'S') {
      kube_buf_str(&b, kube_view_text(it.value, "namespace"));
      kube_buf_addz(&b, "/");
    }
    kube_buf_str(&b, kube_view_text(it.value, "name"));
  }
  kube_cell_take(c, &b, "");
}
static void subjects_users(const kube_cell_t *c) {
  subjects(c, "User");
}
static void subjects_groups(const kube_cell_t *c) {
  subjects(c, "Group");
}
static void subjects_accounts(const kube_cell_t *c) {
  subjects(c, "ServiceAccount");
}

static void apiservice_service(const kube_cell_t *c) {
  kg_view_t s = kube_view_in(c->o, "spec.service");
  if (kg_view_type(s) != KG_V_MAP) {
    kg_pack_str(c->p, "Local");
    return;
  }
  kg_pack_fmt(c->p, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(kube_view_text(s, "namespace")),
              KG_STR_ARG(kube_view_text(s, "name")));
}
static void apiservice_available(const kube_cell_t *c) {
  kg_view_t available = kube_condition_of(c->o, "Available");
  kg_str_t status = kube_view_text(available, "status");
  if (!status.n || kg_str_is(status, "True")) {
    kube_cell_str(c, status, "Unknown");
  } else {
    kg_pack_fmt(c->p, KG_STR_FMT " (" KG_STR_FMT ")", KG_STR_ARG(status),
                KG_STR_ARG(kube_view_text(available, "reason")));
  }
}

/* --- autoscaling
 * ------------------------------------------------------------------------------------------------------------ */

static void hpa_reference(const kube_cell_t *c) {
  kg_pack_fmt(c->p, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(kube_view_text(c->o, "spec.scaleTargetRef.kind")),
              KG_STR_ARG(kube_view_text(c->o, "spec.scaleTargetRef.name")));
}
/* "cpu: 12%/80%" of a resource metric; others show the wanted value only. */
static void metric_text(kube_buf_t *b, kg_view_t o, kg_view_t metric) {
  kg_str_t name = kube_view_text(metric, "resource.name"),
           value = kube_view_text(metric, "resource.target.averageValue");
  if (!name.n) {
    kube_buf_fmt(b, "<unknown>/" KG_STR_FMT, KG_STR_ARG(kube_view_text(metric, "type")));
    return;
  }
  kg_view_t current = {0};
  for (kg_iter_t it = kg_iter(kube_view_in(o, "status.currentMetrics")); kg_iter_next(&it);) {
    if (kg_str_eq(kube_view_text(it.value, "resource.name"), name))
      current = kube_view_in(it.value, "resource.current");
  }
  kube_buf_fmt(b, KG_STR_FMT ": ", KG_STR_ARG(name));
  kg_str_t now_value = kube_view_text(current, "averageValue");
  int64_t now_percent = kg_view_int(kg_view_get(current, "averageUtilization"), -1);
  if (value.n) {
    kube_buf_fmt(b, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(now_value.n ? now_value : KG_STR("<unknown>")),
                 KG_STR_ARG(value));
    return;
  }
  if (now_percent >= 0) {
    kube_buf_fmt(b, "%lld%%", (long long)now_percent);
  } else {
    kube_buf_addz(b, "<unknown>");
  }
  kube_buf_fmt(b, "/%lld%%", (long long)kg_view_int(kube_view_in(metric, "resource.target.averageUtilization"), 0));
}
static void hpa_targets(const kube_cell_t *c) {
  kube_buf_t b = {0};
  kg_view_t v1 = kube_view_in(c->o, "spec.targetCPUUtilizationPercentage");
  if (kg_view_type(v1) == KG_V_INT) {
    int64_t now = kg_view_int(kube_view_in(c->o, "status.currentCPUUtilizationPercentage"), -1);
    kube_buf_addz(&b, "cpu: ");
    if (now < 0) kube_buf_addz(&b, "<unknown>");
    if (now >= 0) kube_buf_fmt(&b, "%lld%%", (long long)now);
    kube_buf_fmt(&b, "/%lld%%", (long long)kg_view_int(v1, 0));
  }
  size_t count = 0;
  for (kg_iter_t it = kg_iter(kube_view_in(c->o, "spec.metrics")); kg_iter_next(&it); count++) {
    if (count >= 2) continue;
    if (b.n) kube_buf_addz(&b, ", ");
    metric_text(&b, c->o, it.value);
  }
  if (count > 2) kube_buf_fmt(&b, " + %zu more...", count - 2);
  kube_cell_take(c, &b, "<none>");
}

/* --- certificates
 * -------------------------------------------------------------------------------------------------------------- */

static void csr_duration(const kube_cell_t *c) {
  int64_t s = kg_view_int(kube_view_in(c->o, "spec.expirationSeconds"), -1);
  char text[32] = "<none>";
  if (s >= 0) kube_duration_text(text, s);
  kg_pack_str(c->p, text);
}
static bool holds(kg_view_t o, const char *type) {
  return kg_view_there(kube_condition_of(o, type));
}
/* The one condition a component has; it has no status around it. */
static kg_view_t component_health(const kube_cell_t *c) {
  return kube_list_find(kg_view_get(c->o, "conditions"), "type", KG_STR("Healthy"));
}
static void component_status(const kube_cell_t *c) {
  kg_str_t status = kube_view_text(component_health(c), "status");
  kube_cell_str(c,
                kg_str(kg_str_is(status, "True")    ? "Healthy"
                       : kg_str_is(status, "False") ? "Unhealthy"
                                                    : "Unknown"),
                "");
}
static void component_message(const kube_cell_t *c) {
  kube_cell_str(c, kube_view_text(component_health(c), "message"), "");
}
static void component_error(const kube_cell_t *c) {
  kube_cell_str(c, kube_view_text(component_health(c), "error"), "");
}
static void csr_condition(const kube_cell_t *c) {
  kube_buf_t b = {0};
  bool approved = holds(c->o, "Approved"), denied = holds(c->o, "Denied");
  kube_buf_addz(&b, denied ? "Denied" : approved ? "Approved" : "Pending");
  if (holds(c->o, "Failed")) kube_buf_addz(&b, ",Failed");
  kg_view_t certificate = kube_view_in(c->o, "status.certificate");
  if (kg_view_str(certificate).n) kube_buf_addz(&b, ",Issued");
  kube_cell_take(c, &b, "");
}

/* --- flow control, admission, resources
 * ------------------------------------------------------------------------------------------- */

static void flow_missing(const kube_cell_t *c) {
  kg_str_t dangling = kube_view_text(kube_condition_of(c->o, "Dangling"), "status");
  kube_cell_str(c, dangling, "?");
}
static void level_number(const kube_cell_t *c, const char *path) {
  kg_view_t v = kube_view_in(c->o, path);
  if (kg_view_type(v) == KG_V_INT) {
    kg_pack_int(c->p, kg_view_int(v, 0));
  } else {
    kg_pack_str(c->p, "<none>");
  }
}
static void level_shares(const kube_cell_t *c) {
  bool exempt = kg_str_is(kube_view_text(c->o, "spec.type"), "Exempt");
  level_number(c, exempt ? "spec.exempt.nominalConcurrencyShares" : "spec.limited.nominalConcurrencyShares");
}
static void level_queues(const kube_cell_t *c) {
  level_number(c, "spec.limited.limitResponse.queuing.queues");
}
static void level_hand_size(const kube_cell_t *c) {
  level_number(c, "spec.limited.limitResponse.queuing.handSize");
}
static void level_queue_length(const kube_cell_t *c) {
  level_number(c, "spec.limited.limitResponse.queuing.queueLengthLimit");
}
static void param_kind(const kube_cell_t *c) {
  kg_view_t kind = kube_view_in(c->o, "spec.paramKind");
  if (kg_view_type(kind) != KG_V_MAP) {
    kg_pack_str(c->p, "<unset>");
    return;
  }
  kg_pack_fmt(c->p, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(kube_view_text(kind, "apiVersion")),
              KG_STR_ARG(kube_view_text(kind, "kind")));
}
static void param_ref(const kube_cell_t *c) {
  kg_view_t ref = kube_view_in(c->o, "spec.paramRef");
  kg_str_t ns = kube_view_text(ref, "namespace"), name = kube_view_text(ref, "name");
  if (kg_view_type(ref) != KG_V_MAP) {
    kg_pack_str(c->p, "<unset>");
  } else if (ns.n) {
    kg_pack_fmt(c->p, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name));
  } else {
    kube_cell_str(c, name, "*");
  }
}
static void claim_state(const kube_cell_t *c) {
  kube_buf_t b = {0};
  bool allocated = kg_view_type(kube_view_in(c->o, "status.allocation")) == KG_V_MAP;
  bool reserved = kg_view_count(kube_view_in(c->o, "status.reservedFor")) > 0;
  if (kube_deleting(c->o)) kube_buf_addz(&b, "deleted,");
  kube_buf_addz(&b, allocated ? reserved ? "allocated,reserved" : "allocated" : "pending");
  kube_cell_take(c, &b, "");
}

const kube_cell_fn_t kube_cells_other[] = {
    {"role_ref", role_ref},
    {"subjects_users", subjects_users},
    {"subjects_groups", subjects_groups},
    {"subjects_accounts", subjects_accounts},
    {"apiservice_service", apiservice_service},
    {"apiservice_available", apiservice_available},
    {"hpa_reference", hpa_reference},
    {"hpa_targets", hpa_targets},
    {"csr_duration", csr_duration},
    {"csr_condition", csr_condition},
    {"component_status", component_status},
    {"component_message", component_message},
    {"component_error", component_error},
    {"flow_missing", flow_missing},
    {"level_shares", level_shares},
    {"level_queues", level_queues},
    {"level_hand_size", level_hand_size},
    {"level_queue_length", level_queue_length},
    {"param_kind", param_kind},
    {"param_ref", param_ref},
    {"claim_state", claim_state},
    {0},
};
