import { fileURLToPath } from 'node:url'
import { defineProject, mergeConfig, type UserWorkspaceConfig } from 'vitest/config'
import { integrationTests } from './vitest.base.js'

/** A database and a version of Kysely that the monitor's tests run on. */
export interface Leg {
  readonly db: string
  readonly kysely: string
  /** Files that `npm test` leaves out here; `test:full` runs them. */
  readonly leaveOut?: readonly string[]
}

/** The version that the workspace installs as `kysely`. */
const INSTALLED = '0.28.19'

/** What the monitor's own process does, whatever its database: policies, threads and connections. */
const PROCESS = [
  ...['cap', 'crash-policy', 'isolation'],
  ...['heartbeat-connection', 'heartbeat-thread', 'heartbeat-thread-build'],
]

/**
 * The rest of the tests that wait for leases and restarts. What they test is the protocol, of which a second version of
 * the same database, or a pooler before it, says little; statements, migrations, grants and the rest are tested everywhere.
 */
const PROTOCOL = ['clock', 'crash', 'outage', 'pause', 'race', 'two-phase']

/** Each database once, and each version of Kysely on both kinds of database: the legs of `npm test`. */
export const legs: readonly Leg[] = [
  { db: 'postgres', kysely: INSTALLED },
  { db: 'postgres@14', kysely: '0.28.8', leaveOut: [...PROCESS, ...PROTOCOL] },
  { db: 'pgbouncer', kysely: '0.29.9', leaveOut: [...PROCESS, ...PROTOCOL] },
  { db: 'mariadb', kysely: '0.29.9', leaveOut: PROCESS },
  { db: 'mysql', kysely: INSTALLED },
]

/** What `npm run test:full` adds. */
export const moreLegs: readonly Leg[] = [
  { db: 'postgres', kysely: '0.29.9' },
  { db: 'postgres', kysely: '0.28.8' },
  { db: 'mariadb', kysely: INSTALLED },
  { db: 'mysql', kysely: '0.28.8' },
  { db: 'mysql', kysely: '0.29.9' },
]

export const full = process.env.HOLDFAST_TEST_FULL !== undefined

/** Five legs share the time of `npm test`. */
const propertyRuns = process.env.HOLDFAST_PROPERTY_RUNS ?? (full ? '60' : '20')

/** These mostly wait; the others are heavier, and come first. Their files keep no state in a module. */
const waiting = { maxWorkers: 4, isolate: false }

const left = (files: readonly string[] = []): string[] =>
  full ? [] : files.map((file) => `test/${file}.test.ts`)

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

/** The monitor's tests on one leg. */
export function coreOn({ db, kysely, leaveOut }: Leg): UserWorkspaceConfig {
  return mergeConfig(
    integrationTests,
    defineProject({
      root: path('packages/core'),
      test: {
        name: `core on ${db}, kysely ${kysely}`,
        exclude: left(leaveOut),
        env: {
          HOLDFAST_TEST_DB: db,
          HOLDFAST_TEST_KYSELY: kysely === INSTALLED ? '' : kysely,
          HOLDFAST_PROPERTY_RUNS: propertyRuns,
        },
        execArgv: ['--import', path('tooling/chaos/hooks/kysely.mjs')],
        sequence: { groupOrder: 1 },
        ...waiting,
      },
    }),
  )
}

/** A version of bee-queue and a database that its adapter's tests run on. */
export interface BeeLeg {
  readonly db: string
  readonly bee: '2.0.0' | '1.7.1'
  /** Files that `npm test` leaves out here; `test:full` runs them. */
  readonly leaveOut?: readonly string[]
}

/** What has to do with neither the database nor the version of bee-queue. */
const NEITHER = ['job-json', 'types', 'crash-points']

/** What is between the adapter and Redis alone. */
const REDIS_ALONE = ['failover', 'fidelity', 'options', 'recover', 'hand-off', 'stop', 'zombie', 'redis-lost']

/** Each kind of database and each version of bee-queue: the legs of `npm test`. */
export const beeLegs: readonly BeeLeg[] = [
  { db: 'postgres', bee: '2.0.0' },
  { db: 'mysql', bee: '1.7.1', leaveOut: [...NEITHER, 'failover'] },
  { db: 'mariadb', bee: '2.0.0', leaveOut: [...NEITHER, ...REDIS_ALONE] },
]

/** What `npm run test:full` adds. */
export const moreBeeLegs: readonly BeeLeg[] = [
  { db: 'postgres', bee: '1.7.1' },
  { db: 'mysql', bee: '2.0.0' },
  { db: 'mariadb', bee: '1.7.1' },
]

/** The tests of the bee-queue adapter on one leg. */
export function beeOn({ db, bee, leaveOut }: BeeLeg): UserWorkspaceConfig {
  return mergeConfig(
    integrationTests,
    defineProject({
      root: path('packages/bee-queue'),
      test: {
        name: `bee-queue ${bee} on ${db}`,
        exclude: left(leaveOut),
        env: {
          HOLDFAST_TEST_DB: db,
          HOLDFAST_TEST_BEE_QUEUE: bee === '1.7.1' ? 'bee-queue-1' : '',
          HOLDFAST_TEST_SERVICES: 'redis',
        },
        sequence: { groupOrder: 2 },
        ...waiting,
      },
    }),
  )
}
