import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The package of the graphile-worker that this run of the tests is on: HOLDFAST_TEST_GRAPHILE_WORKER. */
const installed = process.env.HOLDFAST_TEST_GRAPHILE_WORKER || 'graphile-worker'

/** What the tests use is in every version. */
export const graphile: typeof import('graphile-worker') = await import(installed)

export const graphileMain = fileURLToPath(import.meta.resolve(installed))

export const graphileVersion: string = JSON.parse(
  readFileSync(join(dirname(graphileMain), '..', 'package.json'), 'utf8'),
).version

/** Whether jobs are locked by the worker, not by its pool. */
export const locksByWorker = graphileVersion.startsWith('0.16.')

/** Whether a pool can fetch jobs ahead of running them. */
export const hasLocalQueue = !locksByWorker
