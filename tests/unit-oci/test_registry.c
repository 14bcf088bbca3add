/* A registry that means harm (registry.py): every answer ends in one sentence, soon, with nothing left in the store. */
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "node.h"

typedef struct registry {
  node_t *n;
  FILE *python; /* it ends with its input: nothing is left if the test dies */
  char store[96];
  int port;
} registry_t;

static registry_t begin(const char *config) {
  registry_t r = {.n = node_with(config)};
  char line[300];
  snprintf(r.store, sizeof r.store, "%s/data/runtime/images", r.n->dir);
  snprintf(line, sizeof line, "python3 %s >%s/port", REGISTRY, r.n->dir);
  r.python = popen(line, "we");
  snprintf(line, sizeof line, "%s/port", r.n->dir);
  for (int i = 0; i < 500 && !r.port; i++) {
    char *text = slurp(line);
    r.port = strchr(text, '\n') ? atoi(text) : 0;
    free(text);
    usleep(20000);
  }
  cr_assert(r.port > 0);
  return r;
}

static void end(registry_t *r) {
  pclose(r->python);
  node_free(r->n);
}

static bool store_is_empty(const registry_t *r) {
  return shell("find %s/layers %s/images %s/tmp -mindepth 1 2>/dev/null | grep -q .", r->store, r->store, r->store) !=
         0;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Pulling h/HOW is refused with a sentence that has `why` in it. */
static void refused(const registry_t *r, const char *how, const char *why) {
  double began = now();
  kg_msg_t *m = ask(r->n, "image.pull", "{'image': '127.0.0.1:%d/h/%s:1'}", r->port, how);
  double took = now() - began;
  cr_expect(kg_msg_type(m) == KG_MSG_ERROR && strstr(kg_msg_text(m), why), "%s: %s", how, kg_msg_text(m));
  cr_expect(kg_msg_type(m) != KG_MSG_ERROR || !strchr(kg_msg_text(m), '\n'), "%s: %s", how, kg_msg_text(m));
  cr_expect(took < 12, "%s: took %.1f s", how, took);
  cr_expect(store_is_empty(r), "%s: something is left", how);
  kg_msg_unref(m);
}

typedef struct expected {
  const char *how, *why;
} expected_t;

static void all_refused(const registry_t *r, const expected_t *e, size_t n) {
  for (size_t i = 0; i < n; i++) refused(r, e[i].how, e[i].why);
}
#define ALL(r, e) all_refused(r, e, sizeof e / sizeof *e)

Test(registry, bodies_that_do_not_end) {
  static const expected_t cases[] = {
      {"endless", "is over 4 MiB"},
      {"endless404", "not found"},
      {"endless401", "pull access denied"},
      {"loop", "redirects"},
      {"endlessloop", "redirects"},
      {"tofile", "file"},
      {"heads", "headers"},
      {"endlessconfig", "larger than the"},
      {"layerendless", "larger than the"},
      {"layer404", "not found"},
      {"layerloop", "redirects"},
      {"tokenendless", "failed to authorize: the token service's answer is over 4 MiB"},
      {"tokenloop", "failed to authorize: failed to fetch a token"},
      {"tokenrubbish", "failed to authorize: the token service gave no token"},
      {"tokeninjects", "failed to authorize: the token service gave no token"},
      {"tokenfails", "failed to authorize: unexpected status"},
  };
  registry_t r = begin(NULL);
  ALL(&r, cases);
  end(&r);
}

Test(registry, what_is_no_image) {
  static const expected_t cases[] = {
      {"rubbish", "manifest cannot be read"},
      {"notjson", "manifest cannot be read"},
      {"html", "media type \"text/html\", which is no image manifest"},
      {"schema1", "manifest.v1+prettyjws\", which is no image manifest"},
      {"chart", "helm.chart.content.v1.tar+gzip\", which is no layer"},
      {"both", "both manifests and layers"},
      {"nested", "which is no SHA-256 digest"},
      {"falseindex", "has the digest"},
      {"twolayers", "2 layers, but the configuration speaks of 1"},
      {"sha0", "which is no SHA-256 digest"},
      {"nosize", "gives no size"},
      {"negative", "gives no size"},
      {"larger", "larger than the 10 bytes"},
      {"hugeconfig", "more than the 4194304 allowed"},
      {"hugelayer", "no space left on device"},
      {"notconfig", "image configuration cannot be read"},
      {"wrong", "is damaged: its digest is"},
      {"falsediff", "but the image says"},
  };
  registry_t r = begin(NULL);
  ALL(&r, cases);
  end(&r);
}

Test(registry, layers_that_mean_harm) {
  static const expected_t cases[] = {
      {"climbs", "leaves its directory"}, {"linked", "could not be made"},    {"hardlink", "leaves its directory"},
      {"outside", "could not be linked"}, {"device", "takes for a whiteout"}, {"deep", "leaves its directory"},
      {"bomb", "taken for a bomb"},
  };
  registry_t r = begin(NULL);
  ALL(&r, cases);
  cr_expect(access("/tmp/kogge-was-here", F_OK) != 0);
  end(&r);
}

Test(registry, stalls) {
  registry_t r = begin("{\"pullStallSeconds\": 1}");
  refused(&r, "stalls", "less than 1024 bytes a second for 1 s");
  refused(&r, "layerstalls", "less than 1024 bytes a second for 1 s");
  end(&r);
}

Test(registry, the_configured_maximum) {
  registry_t r = begin("{\"maxLayerMiB\": 8}");
  refused(&r, "big", "larger than the 8 MiB that config.maxLayerMiB allows");
  end(&r);
}

/* What is no bomb does not fill the disk either. */
Test(registry, a_disk_that_is_small) {
  registry_t r = begin(NULL);
  cr_assert(mount("tmpfs", r.store, "tmpfs", 0, "size=48m") == 0);
  shell("mkdir %s/layers %s/images %s/tmp", r.store, r.store, r.store);
  refused(&r, "big", "no space left on device: images have");
  cr_expect(umount(r.store) == 0);
  end(&r);
}

/* The honest answer of the same registry is taken. */
Test(registry, and_one_that_does_not) {
  registry_t r = begin(NULL);
  must(r.n, "image.pull", "{'image': '127.0.0.1:%d/h/good:1'}", r.port);
  must(r.n, "image.status", "{'image': '127.0.0.1:%d/h/good:1'}", r.port);
  cr_expect(!store_is_empty(&r));
  end(&r);
}
