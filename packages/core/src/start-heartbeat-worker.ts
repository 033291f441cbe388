import { extname } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker, type WorkerOptions } from 'node:worker_threads'

/** tsx doesn't reach into threads by itself. */
const fromSource = (file: URL): string =>
  `import('tsx/esm/api').then(({ register }) => (register(), import(${JSON.stringify(file)})))`

/** Starts `heartbeat-worker`, which stands beside this code wherever it went: in the sources, the builds, a bundle. */
export function startHeartbeatWorker(options: WorkerOptions): Worker {
  // Word for word what webpack looks for: it then bundles the worker by itself.
  if (import.meta.url?.endsWith('.js')) {
    return new Worker(new URL('./heartbeat-worker.js', import.meta.url), options)
  }
  // CommonJS, be it our build or a bundler's, has no import.meta.
  const here = import.meta.url ?? pathToFileURL(__filename).href
  const extension = extname(here)
  const file = new URL(`./heartbeat-worker${extension}`, here)
  if (extension === '.ts') return new Worker(fromSource(file), { ...options, eval: true })
  return new Worker(file, options)
}
