#include "cluster.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void done(kg_msg_t *m, const char *what) {
  cr_assert_eq(kg_msg_type(m), KG_MSG_REPLY, "%s: %s", what, kg_msg_text(m));
  kg_msg_unref(m);
}

void cluster_up(cluster_t *c, const char *plugin, const char *file, const char *config) {
  memset(c, 0, sizeof *c);
  world_enter(&c->w);
  snprintf(c->data, sizeof c->data, "%s/data", c->w.dir);
  snprintf(c->run, sizeof c->run, "%s/run", c->w.dir);
  snprintf(c->outside, sizeof c->outside, "%s/outside", c->w.dir);
  c->d = driver_new(c->data, c->run);
  driver_load(c->d, "store", "store-memory.so", NULL);
  driver_load(c->d, "api", "api.so", "{\"serviceCIDR\":\"10.43.0.0/16\"}");
  driver_load(c->d, "network", "network-bridge.so", "{\"bridge\":\"" BRIDGE "\"}");
  driver_load(c->d, plugin, file, config);
  done(driver_call(c->d, "network", "network.configure", "{\"podCIDR\":\"10.77.0.0/24\"}", NULL), "configure");
}

void cluster_down(cluster_t *c) {
  driver_free(c->d);
  world_leave(&c->w);
}

void pod_up(cluster_t *c, const char *name, char netns[128], char ip[32]) {
  char args[300];
  world_ns(&c->w, name, netns);
  snprintf(args, sizeof args, "{\"id\":\"%s\",\"netns\":\"%s\"}", name, netns);
  kg_msg_t *m = driver_call(c->d, "network", "network.attach", args, NULL);
  cr_assert_eq(kg_msg_type(m), KG_MSG_REPLY, "%s", kg_msg_text(m));
  snprintf(ip, 32, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(kg_msg_args(m), "ip"))));
  kg_msg_unref(m);
}

static void args_of(char args[512], const char *group, const char *version, const char *resource, const char *ns,
                    const char *name) {
  snprintf(args, 512, "{\"g\":\"%s\",\"v\":\"%s\",\"r\":\"%s\",\"ns\":\"%s\"%s%s%s,\"patch\":\"merge\"}", group,
           version, resource, ns, name ? ",\"name\":\"" : "", name ? name : "", name ? "\"" : "");
}

void object_put(cluster_t *c, const char *group, const char *version, const char *resource, const char *ns,
                const char *name, const char *json) {
  char args[512];
  args_of(args, group, version, resource, ns, name);
  kg_msg_t *m = driver_call(c->d, "api", "api.patch", args, json);
  if (kg_msg_code(m) == 404) {
    kg_msg_unref(m);
    args_of(args, group, version, resource, ns, NULL);
    m = driver_call(c->d, "api", "api.create", args, json);
  }
  done(m, json);
}

void object_delete(cluster_t *c, const char *group, const char *version, const char *resource, const char *ns,
                   const char *name) {
  char args[512];
  args_of(args, group, version, resource, ns, name);
  done(driver_call(c->d, "api", "api.delete", args, NULL), name);
}

void service_put(cluster_t *c, const char *name, const char *spec) {
  char json[2048];
  snprintf(json, sizeof json, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\"},\"spec\":%s}", name, spec);
  object_put(c, "", "v1", "services", "default", name, json);
}

void slice_put(cluster_t *c, const char *service, int port, const char *protocol, const char *endpoints) {
  char *json;
  cr_assert(asprintf(&json,
                     "{\"metadata\":{\"name\":\"%s-1\",\"namespace\":\"default\",\"labels\":{\"kubernetes.io/"
                     "service-name\":\"%s\"}},\"addressType\":\"IPv4\",\"endpoints\":%s,\"ports\":[{\"name\":\"\","
                     "\"port\":%d,\"protocol\":\"%s\"}]}",
                     service, service, endpoints, port, protocol) > 0);
  object_put(c, "discovery.k8s.io", "v1", "endpointslices", "default", strcat(strcpy((char[64]){0}, service), "-1"),
             json);
  free(json);
}
