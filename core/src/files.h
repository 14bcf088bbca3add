#ifndef KG_FILES_H
#define KG_FILES_H
/* Removes the folder and what is in it, on its own file system only. Any thread. */
void kg_remove_tree(const char *dir);

#endif
