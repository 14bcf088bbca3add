/* Quantities, times, durations, label selectors. The first byte chooses. */
#include "fuzz.h"
#include "kube/json.h"
#include "kube/values.h"

static void quantity(kg_str_t s) {
  int64_t milli = 0, value = 0, again = 0;
  int rc = kube_quantity_milli(s, &milli);
  char *text = kube_quantity_canonical(s);
  FUZZ_MUST((rc == 0) == (text != NULL));
  FUZZ_MUST((rc == 0) == (kube_quantity_value(s, &value) == 0));
  if (text) {
    char *twice = kube_quantity_canonical(kg_str(text));
    FUZZ_MUST(twice && !strcmp(text, twice));
    FUZZ_MUST(kube_quantity_milli(kg_str(text), &again) == 0 && again == milli);
    free(twice);
  }
  free(text);
}

static void time_of(kg_str_t s) {
  int64_t us, again;
  char text[32];
  if (kube_time_parse(s, &us)) return;
  kube_time_format_micro(us, text);
  FUZZ_MUST(kube_time_parse(kg_str(text), &again) == 0 && again == us);
}

static void selector(kg_str_t s, kg_str_t labels) {
  kg_error_t err = {0};
  kube_selector_t *sel = kube_selector_parse(s, &err);
  kg_doc_t *doc = kube_json_parse(labels.p, labels.n, NULL, NULL, NULL);
  FUZZ_MUST(sel || err.text[0]);
  if (sel) kube_selector_matches(sel, kg_view_of(doc));
  kube_selector_free(sel);
  if ((sel = kube_selector_of(kg_view_of(doc), &err))) kube_selector_matches(sel, kg_view_of(doc));
  kube_selector_free(sel);
  kg_doc_unref(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  uint8_t what = fuzz_byte(&in) % 4;
  kg_str_t text = fuzz_part(&in), more = fuzz_part(&in);
  int64_t ms;
  uint32_t net;
  unsigned bits;
  switch (what) {
  case 0:
    quantity(text);
    break;
  case 1:
    time_of(text);
    break;
  case 2:
    kube_duration_ms(text, &ms);
    if (kube_ipv4_range(text, &net, &bits) == 0 && (bits > 32 || (bits < 32 && net << bits))) abort();
    break;
  default:
    selector(text, more);
  }
  free((char *)text.p);
  free((char *)more.p);
  return 0;
}
