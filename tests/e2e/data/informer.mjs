// A client library's informers, on config maps and on a custom kind: what they saw is printed, an event a line.
import { createRequire } from 'node:module';
const require = createRequire(process.argv[2] + '/');
const k8s = await import(require.resolve('@kubernetes/client-node'));

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const custom = config.makeApiClient(k8s.CustomObjectsApi);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = 'default';
const group = 'stories.example', version = 'v1', plural = 'widgets';

const seen = [];
async function follow(path, list, wanted) {
  const informer = k8s.makeInformer(config, path, list);
  for (const event of ['add', 'update', 'delete'])
    informer.on(event, (o) => { if (wanted(o)) seen.push(`${event} ${o.kind ?? 'ConfigMap'} ${o.metadata.name}`); });
  informer.on('error', (e) => { seen.push(`error ${e}`); });
  await informer.start();
  return informer;
}
async function until(n) {
  for (let i = 0; i < 400 && seen.length < n; i++) await new Promise((r) => setTimeout(r, 50));
}

const definition = { // the library's models call a default _default
  apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', metadata: { name: `${plural}.${group}` },
  spec: {
    group, scope: 'Namespaced', names: { plural, kind: 'Widget', shortNames: ['wi'], categories: ['all'] },
    versions: [{
      name: version, served: true, storage: true, subresources: { status: {}, scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' } },
      selectableFields: [{ jsonPath: '.spec.color' }],
      additionalPrinterColumns: [{ name: 'Color', type: 'string', jsonPath: '.spec.color' }],
      schema: { openAPIV3Schema: { type: 'object', properties: {
        spec: { type: 'object', required: ['size'], properties: { size: { type: 'integer', maximum: 9 }, color: { type: 'string', _default: 'red' }, replicas: { type: 'integer', _default: 1 } } },
        status: { type: 'object', properties: { replicas: { type: 'integer' } } } } } },
    }],
  },
};
await objects.create(definition);
const started = Date.now();
for (;;) { // discovery publishes the kind within a second
  try { await custom.listNamespacedCustomObject({ group, version, namespace, plural }); break; } catch (e) { if (Date.now() - started > 10000) throw e; }
}

const mine = (o) => o.metadata.name.startsWith('my-');
const maps = await follow(`/api/v1/namespaces/${namespace}/configmaps`, () => core.listNamespacedConfigMap({ namespace }), mine);
const widgets = await follow(`/apis/${group}/${version}/namespaces/${namespace}/${plural}`,
  () => custom.listNamespacedCustomObject({ group, version, namespace, plural }), mine);

await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'my-map' }, data: { a: '1' } } });
const map = await core.readNamespacedConfigMap({ namespace, name: 'my-map' });
map.data.a = '2';
await core.replaceNamespacedConfigMap({ namespace, name: 'my-map', body: map });
await core.deleteNamespacedConfigMap({ namespace, name: 'my-map' });
await until(3);
const widget = await custom.createNamespacedCustomObject({ group, version, namespace, plural,
  body: { apiVersion: `${group}/${version}`, kind: 'Widget', metadata: { name: 'my-widget' }, spec: { size: 3 } } });
console.log(`default ${widget.spec.color}`);
await custom.deleteNamespacedCustomObject({ group, version, namespace, plural, name: 'my-widget' });
await until(5);
try {
  await core.readNamespacedConfigMap({ namespace, name: 'my-map' });
} catch (e) {
  console.log(`${e.code} ${JSON.parse(e.body).reason}`);
}
try {
  map.metadata.resourceVersion = '1';
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'my-map' } } });
  await core.replaceNamespacedConfigMap({ namespace, name: 'my-map', body: map });
} catch (e) {
  console.log(`${e.code} ${JSON.parse(e.body).reason}`);
}
await maps.stop();
await widgets.stop();
console.log(seen.slice(0, 5).join('\n'));
process.exit(0);
