import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Boss } from '../../src/index.js'

/** The package of the pg-boss that this run of the tests is on: HOLDFAST_TEST_PG_BOSS. */
const installed = process.env.HOLDFAST_TEST_PG_BOSS || 'pg-boss'

const main = createRequire(import.meta.url).resolve(installed)

export const bossVersion: string = JSON.parse(
  readFileSync(join(dirname(main), '..', 'package.json'), 'utf8'),
).version

/** Of version 10, which ends jobs by their id alone. */
export const isTen = bossVersion.startsWith('10.')

/** pg-boss as the tests use it. */
export interface TestBoss extends Boss {
  start(): Promise<unknown>
  stop(options?: object): Promise<void>
  on(event: string, listener: (...args: never[]) => void): unknown
  createQueue(name: string, options?: object): Promise<void>
  deleteQueue(name: string): Promise<void>
  send(name: string, data: object, options?: object): Promise<string | null>
  work(
    name: string,
    options: object,
    handler: (jobs: never[], tx: never) => Promise<unknown>,
  ): Promise<string>
  getJobById(name: string, id: string, options?: object): Promise<Record<string, unknown> | null>
  cancel(name: string, id: string): Promise<unknown>
  retry(name: string, id: string): Promise<unknown>
  deleteJob(name: string, id: string): Promise<unknown>
  fetch(name: string, options?: object): Promise<{ id: string }[]>
  /** Of 10. */
  maintain?(): Promise<unknown>
  /** Of 12. */
  supervise?(name?: string): Promise<unknown>
}

const module = await import(installed)

/** A pg-boss that does no upkeep by itself unless told so. */
export const makeBoss = (options: object): TestBoss =>
  new (module.PgBoss ?? module.default)({ supervise: false, schedule: false, max: 3, ...options })
