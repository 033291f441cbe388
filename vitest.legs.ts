import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineProject, mergeConfig, type UserWorkspaceConfig } from 'vitest/config'
import { integrationTests } from './vitest.base.js'

/** A database that tests run on. */
interface DatabaseLeg {
  readonly db: string
  /** Files that `npm test` leaves out here; `test:full` runs them. */
  readonly leaveOut?: readonly string[]
  /** The only files that `npm test` runs here, and `test:full` with all the others. */
  readonly only?: readonly string[]
  /** What `npm test` leaves out here of the conformance tests. */
  readonly leaveOutAreas?: readonly string[]
}

/** A database and a version of Kysely that the monitor's tests run on. */
export interface Leg extends DatabaseLeg {
  readonly kysely: string
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
const PROTOCOL = [
  ...['clock', 'crash', 'guard-rows', 'outage', 'pause', 'race', 'rename', 'two-phase'],
  ...['quarantine', 'quarantine-codec', 'quarantine-rename'],
  ...['judge', 'overdue', 'steps-sweep', 'transaction', 'unprotected', 'upkeep'],
]

/** What `migrate()` itself is put through; that it makes the tables is seen by every other test. */
const MIGRATIONS = ['migration-crash', 'migration-provider', 'migration-versions']

/** Each database once, and each version of Kysely on both kinds of database: the legs of `npm test`. */
export const legs: readonly Leg[] = [
  { db: 'postgres', kysely: INSTALLED },
  { db: 'postgres@14', kysely: '0.28.8', leaveOut: [...PROCESS, ...PROTOCOL, ...MIGRATIONS] },
  { db: 'pgbouncer', kysely: '0.29.9', leaveOut: [...PROCESS, ...PROTOCOL, ...MIGRATIONS, 'properties'] },
  { db: 'mariadb', kysely: '0.29.9', leaveOut: PROCESS },
  { db: 'mysql', kysely: INSTALLED, leaveOut: [...PROCESS, ...PROTOCOL, ...MIGRATIONS] },
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

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

interface LegTests {
  readonly folder: string
  readonly name: string
  /** Legs with the same number run side by side, the others one after the other. */
  readonly order: number
  readonly env: Readonly<Record<string, string>>
  readonly execArgv?: string[]
}

/** The tests of a package on one leg. They mostly wait, and their files keep no state in a module. */
function testsOn(
  { db, leaveOut = [], only, leaveOutAreas = [] }: DatabaseLeg,
  { folder, name, order, env, execArgv = [] }: LegTests,
): UserWorkspaceConfig {
  const left = only === undefined ? leaveOut : testsIn(folder).filter((file) => !only.includes(file))
  return mergeConfig(
    integrationTests,
    defineProject({
      root: path(folder),
      test: {
        name,
        exclude: full ? [] : left.map((file) => `test/${file}.test.ts`),
        env: {
          HOLDFAST_TEST_DB: db,
          ...(full || leaveOutAreas.length === 0
            ? {}
            : { HOLDFAST_TESTKIT_LEAVE_OUT: leaveOutAreas.join(';') }),
          ...env,
        },
        execArgv,
        maxWorkers: 4,
        isolate: false,
        // The tests that have no leg are heavier, and come first.
        sequence: { groupOrder: order },
      },
    }),
  )
}

function testsIn(folder: string): string[] {
  const files = readdirSync(path(`${folder}/test`), { recursive: true, encoding: 'utf8' })
  return files.flatMap((file) => (file.endsWith('.test.ts') ? file.slice(0, -'.test.ts'.length) : []))
}

/** The monitor's tests on one leg. */
export const coreOn = (leg: Leg): UserWorkspaceConfig =>
  testsOn(leg, {
    folder: 'packages/core',
    name: `core on ${leg.db}, kysely ${leg.kysely}`,
    order: 1,
    env: {
      HOLDFAST_TEST_KYSELY: leg.kysely === INSTALLED ? '' : leg.kysely,
      HOLDFAST_PROPERTY_RUNS: propertyRuns,
    },
    execArgv: ['--import', path('tooling/chaos/hooks/kysely.mjs')],
  })

/** Areas of the conformance tests that are between an adapter and the contract, whatever version and database. */
const CONTRACT = [
  ...['the adapter', 'a recovery', 'a repeated recovery', 'a recoverer that is killed'],
  ...['a batch with a bad job', 'a recovery that is undone', 'a queue that can’t be reached'],
]

/** Further areas in which a second version of a queue says little new. */
const SECOND_VERSION = [...CONTRACT, 'a process that is evicted', 'a job that kills its process']

/** Areas that are between an adapter and its queue, whatever the monitor's database. */
const QUEUE_ALONE = [
  ...['the adapter', 'what comes back', 'a job that runs', 'a job that is found'],
  'a queue that can’t be reached',
]

/** The databases that the conformance kit itself is tested on, with the reference adapter: the legs of `npm test`. */
export const kitLegs: readonly DatabaseLeg[] = [
  { db: 'postgres' },
  { db: 'mariadb', leaveOut: ['broken'], leaveOutAreas: QUEUE_ALONE },
  { db: 'mysql', leaveOut: ['broken'], leaveOutAreas: [...QUEUE_ALONE, ...CONTRACT] },
]

/** What `npm run test:full` adds. */
export const moreKitLegs: readonly DatabaseLeg[] = [
  { db: 'postgres@14', leaveOut: ['broken'] },
  { db: 'pgbouncer', leaveOut: ['broken'] },
]

/** The tests of the conformance kit on one leg. */
export const kitOn = (leg: DatabaseLeg): UserWorkspaceConfig =>
  testsOn(leg, {
    folder: 'packages/adapter-testkit',
    name: `the reference adapter on ${leg.db}`,
    order: 2,
    env: {},
  })

/** A version of bee-queue and a database that its adapter's tests run on. */
export interface BeeLeg extends DatabaseLeg {
  readonly bee: '2.0.0' | '1.7.1'
}

/** Each version of bee-queue, and each kind of database: the legs of `npm test`. */
export const beeLegs: readonly BeeLeg[] = [
  { db: 'postgres', bee: '2.0.0' },
  {
    db: 'mysql',
    bee: '1.7.1',
    only: ['conformance', 'hand-off', 'transaction'],
    leaveOutAreas: SECOND_VERSION,
  },
]

/** What `npm run test:full` adds. */
export const moreBeeLegs: readonly BeeLeg[] = [
  { db: 'postgres', bee: '1.7.1' },
  { db: 'mysql', bee: '2.0.0' },
  { db: 'mariadb', bee: '2.0.0' },
  { db: 'mariadb', bee: '1.7.1' },
]

/** The tests of the bee-queue adapter on one leg. */
export const beeOn = (leg: BeeLeg): UserWorkspaceConfig =>
  testsOn(leg, {
    folder: 'packages/bee-queue',
    name: `bee-queue ${leg.bee} on ${leg.db}`,
    order: 2,
    env: {
      HOLDFAST_TEST_BEE_QUEUE: leg.bee === '1.7.1' ? 'bee-queue-1' : '',
      HOLDFAST_TEST_SERVICES: 'redis',
    },
  })

/** A version of BullMQ and a database that its adapter's tests run on. */
export interface BullmqLeg extends DatabaseLeg {
  readonly bullmq: '6.7.0' | '5.81.5'
}

/** Each major version of BullMQ, and each kind of database: the legs of `npm test`. */
export const bullmqLegs: readonly BullmqLeg[] = [
  { db: 'postgres', bullmq: '6.7.0' },
  {
    db: 'mysql',
    bullmq: '5.81.5',
    only: ['conformance', 'stalled', 'taken-back'],
    leaveOutAreas: SECOND_VERSION,
  },
]

/** What `npm run test:full` adds. */
export const moreBullmqLegs: readonly BullmqLeg[] = [
  { db: 'postgres', bullmq: '5.81.5' },
  { db: 'mariadb', bullmq: '6.7.0' },
  { db: 'mysql', bullmq: '6.7.0' },
]

/** The tests of the BullMQ adapter on one leg. */
export const bullmqOn = (leg: BullmqLeg): UserWorkspaceConfig =>
  testsOn(leg, {
    folder: 'packages/bullmq',
    name: `bullmq ${leg.bullmq} on ${leg.db}`,
    order: 2,
    env: {
      HOLDFAST_TEST_BULLMQ: leg.bullmq === '5.81.5' ? 'bullmq-5' : '',
      HOLDFAST_TEST_SERVICES: 'redis',
    },
  })

/** A version of graphile-worker and a Postgres that its adapter's tests run on. */
export interface GraphileLeg extends DatabaseLeg {
  readonly graphile: '0.16.6' | '0.17.3' | '0.18.0'
}

/** The version that the workspace installs as `graphile-worker`. */
const INSTALLED_GRAPHILE = '0.17.3'

/** Each version of graphile-worker once, and both ends of Postgres: the legs of `npm test`. */
export const graphileLegs: readonly GraphileLeg[] = [
  { db: 'postgres', graphile: '0.18.0', leaveOut: ['long-job'] },
  {
    db: 'postgres@14',
    graphile: '0.17.3',
    only: ['conformance', 'start', 'expand', 'fence', 'fidelity', 'upkeep'],
    leaveOutAreas: SECOND_VERSION,
  },
  {
    db: 'postgres',
    graphile: '0.16.6',
    only: ['conformance', 'start', 'settle', 'options'],
    leaveOutAreas: SECOND_VERSION,
  },
]

/** What `npm run test:full` adds. */
export const moreGraphileLegs: readonly GraphileLeg[] = [
  { db: 'postgres@14', graphile: '0.18.0' },
  { db: 'postgres', graphile: '0.17.3' },
  { db: 'postgres@14', graphile: '0.16.6' },
]

/** The tests of the graphile-worker adapter on one leg. */
export const graphileOn = (leg: GraphileLeg): UserWorkspaceConfig =>
  testsOn(leg, {
    folder: 'packages/graphile-worker',
    name: `graphile-worker ${leg.graphile} on ${leg.db}`,
    order: 2,
    env: {
      HOLDFAST_TEST_GRAPHILE_WORKER:
        leg.graphile === INSTALLED_GRAPHILE ? '' : `graphile-worker-${leg.graphile.split('.')[1]}`,
      HOLDFAST_TEST_SERVICES: 'postgres,pgbouncer,mysql',
    },
  })

/** A version of pg-boss and a Postgres that its adapter's tests run on. */
export interface BossLeg extends DatabaseLeg {
  readonly boss: '10.4.2' | '12.35.0' | '12.38.0'
}

/** Each kind of pg-boss, and both ends of Postgres: the legs of `npm test`. 12 asks for Node 22, and runs on 20 too. */
export const bossLegs: readonly BossLeg[] = [
  { db: 'postgres', boss: '12.38.0' },
  {
    db: 'postgres@14',
    boss: '10.4.2',
    only: ['conformance', 'zombie', 'expiry'],
    leaveOutAreas: SECOND_VERSION,
  },
]

/** What `npm run test:full` adds. */
export const moreBossLegs: readonly BossLeg[] = [
  { db: 'postgres', boss: '10.4.2' },
  { db: 'postgres@14', boss: '12.35.0' },
]

/** The packages that a version of pg-boss is installed as. */
const BOSSES = { '10.4.2': '', '12.35.0': 'pg-boss-12-floor', '12.38.0': 'pg-boss-12' } as const

/** The tests of the pg-boss adapter on one leg. */
export const bossOn = (leg: BossLeg): UserWorkspaceConfig =>
  testsOn(leg, {
    folder: 'packages/pg-boss',
    name: `pg-boss ${leg.boss} on ${leg.db}`,
    order: 2,
    env: { HOLDFAST_TEST_PG_BOSS: BOSSES[leg.boss], HOLDFAST_TEST_SERVICES: 'postgres,pgbouncer' },
  })
