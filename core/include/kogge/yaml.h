#ifndef KOGGE_YAML_H
#define KOGGE_YAML_H
/* YAML (and so JSON) of people as a document; scalars get the types of YAML's core schema. Any thread. */
#include "kogge/doc.h"

/* One document. `name` stands for the file in sentences. Caller owns the reference; NULL and "NAME:LINE: sentence". */
KG_PUBLIC kg_doc_t *kg_yaml_doc(const char *name, const char *text, size_t size, kg_error_t *err);

#endif
