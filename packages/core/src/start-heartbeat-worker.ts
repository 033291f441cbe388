import { extname } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker, type WorkerOptions } from 'node:worker_threads'

/** Starts `heartbeat-worker`, which stands beside this code wherever it went: in the builds or a bundle. */
export function startHeartbeatWorker(options: WorkerOptions): Worker {
  // Word for word what webpack looks for: it then bundles the worker by itself.
  if (import.meta.url?.endsWith('.js')) {
    return new Worker(new URL('./heartbeat-worker.js', import.meta.url), options)
  }
  // CommonJS, be it our build or a bundler's, has no import.meta.
  const here = import.meta.url ?? pathToFileURL(__filename).href
  return new Worker(new URL(`./heartbeat-worker${extname(here)}`, here), options)
}
