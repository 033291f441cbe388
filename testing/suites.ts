/** What the tests of a package run on: a database, and a version of what they are about. */
export interface Leg {
  readonly db: string
  readonly version: string
  /** The files that `npm test` runs here, if not all: none leaves the leg to `test:full`, which runs all files everywhere. */
  readonly only?: readonly string[]
  /** Files that `npm test` leaves out here. */
  readonly leaveOut?: readonly string[]
  /** Areas of the conformance tests that `npm test` leaves out here. */
  readonly leaveOutAreas?: readonly string[]
}

/** The tests of a package, and their legs. */
export interface Suite {
  /** In `packages`. */
  readonly folder: string
  name(leg: Pick<Leg, 'db' | 'version'>): string
  /** The version that the workspace installs under the package's own name. */
  readonly installed: string
  env(version: string, full: boolean): Readonly<Record<string, string>>
  /** Servers that it needs besides the leg's database. */
  readonly services?: string
  /** Modules that each process of its tests loads first. */
  readonly preloads?: readonly string[]
  readonly legs: readonly Leg[]
}

/**
 * What one database shows as well as another: the monitor's own process and protocol, its policies, threads and
 * connections. On Postgres most of it runs; on MariaDB, for MySQL's kind, the protocol does.
 */
const PROCESS = [
  ...['cap', 'crash-policy', 'isolation'],
  ...['heartbeat-connection', 'heartbeat-thread', 'heartbeat-thread-build'],
]

/** Areas of the conformance tests that are between an adapter and the contract, whatever version and database. */
const CONTRACT = [
  ...['the adapter', 'a recovery', 'a repeated recovery', 'a recoverer that is killed'],
  ...['a batch with a bad job', 'a recovery that is undone', 'a queue that can’t be reached'],
]

/** Further areas in which a second version of a queue says little new. */
const SECOND_VERSION = [
  ...[...CONTRACT, 'a process that is evicted', 'a process that stood still', 'a process that stops'],
  ...['a job that kills its process', 'a task that its handler ends'],
]

/** Areas that are between an adapter and its queue, whatever the monitor's database. */
const QUEUE_ALONE = [
  ...['the adapter', 'what comes back', 'a job that runs', 'a job that is found'],
  'a queue that can’t be reached',
]

/** What `migrate()` itself is put through; that it makes the tables is seen by every other test. */
const MIGRATIONS = ['migration-crash', 'migration-provider', 'migration-versions']

/** What becomes of rows when a process or a queue has a new name. */
const RENAMES = ['rename', 'quarantine-rename', 'quarantine-codec']

/** What is checked before a database is asked. */
const OPTIONS = ['config', 'times', 'codec', 'payload']

/** What goes by times alone, and by which database it is not. */
const UPKEEP = ['clock', 'steps-sweep', 'unprotected', 'upkeep']

/** Every statement: what differs between databases, and between versions of Kysely. */
const STATEMENTS = [
  ...['aftermath', 'end-tasks', 'fates', 'heartbeat-facts', 'locks', 'orphans', 'processes', 'register'].map(
    (file) => `store-sql/${file}`,
  ),
  ...['store-sql/statement-rules', 'store-sql/whole-store'],
  ...['migrate', 'migration-grants', 'migration-sql', 'leg'],
]

const core: Suite = {
  folder: 'core',
  name: ({ db, version }) => `core on ${db}, kysely ${version}`,
  installed: '0.28.19',
  env: (version, full) => ({
    HOLDFAST_TEST_KYSELY: version === core.installed ? '' : version,
    HOLDFAST_PROPERTY_RUNS: process.env.HOLDFAST_PROPERTY_RUNS ?? (full ? '60' : '20'),
  }),
  preloads: ['tooling/chaos/hooks/kysely.mjs'],
  legs: [
    {
      db: 'postgres',
      version: '0.28.19',
      leaveOut: [
        ...[...MIGRATIONS, ...RENAMES, 'heartbeat-thread', 'heartbeat-thread-build', 'outage'],
        ...['steps-sweep', 'upkeep'],
      ],
    },
    {
      db: 'mariadb',
      version: '0.29.9',
      leaveOut: [...PROCESS, ...MIGRATIONS, ...RENAMES, ...OPTIONS, ...UPKEEP],
    },
    { db: 'mysql', version: '0.28.19', only: STATEMENTS },
    { db: 'postgres@14', version: '0.28.8', only: STATEMENTS },
    { db: 'pgbouncer', version: '0.29.9', only: STATEMENTS },
    { db: 'mysql', version: '0.28.8', only: [] },
    { db: 'postgres', version: '0.29.9', only: [] },
  ],
}

/** The conformance kit, with its reference adapter. */
const kit: Suite = {
  folder: 'adapter-testkit',
  name: ({ db }) => `the reference adapter on ${db}`,
  installed: '',
  env: () => ({}),
  legs: [
    // On Postgres the adapters go through it.
    { db: 'mysql', version: '', only: ['leave-out', 'memory'], leaveOutAreas: QUEUE_ALONE },
    { db: 'postgres', version: '', only: [] },
    { db: 'mariadb', version: '', only: [] },
    { db: 'pgbouncer', version: '', only: [] },
  ],
}

const beeQueue: Suite = {
  folder: 'bee-queue',
  name: ({ db, version }) => `bee-queue ${version} on ${db}`,
  installed: '2.0.0',
  env: (version) => ({ HOLDFAST_TEST_BEE_QUEUE: version === '1.7.1' ? 'bee-queue-1' : '' }),
  services: 'redis',
  legs: [
    {
      db: 'postgres',
      version: '2.0.0',
      leaveOut: [
        ...['sql-outage', 'failover', 'fidelity', 'poison', 'row-decides', 'stop', 'transaction-hand-off'],
        ...['wrapped', 'zombie'],
      ],
    },
    {
      db: 'mysql',
      version: '1.7.1',
      only: ['conformance', 'transaction-hand-off'],
      leaveOutAreas: SECOND_VERSION,
    },
    { db: 'mariadb', version: '2.0.0', only: [] },
  ],
}

const bullmq: Suite = {
  folder: 'bullmq',
  name: ({ db, version }) => `bullmq ${version} on ${db}`,
  installed: '6.7.0',
  env: (version) => ({ HOLDFAST_TEST_BULLMQ: version === '5.81.5' ? 'bullmq-5' : '' }),
  services: 'redis',
  legs: [
    {
      db: 'postgres',
      version: '6.7.0',
      leaveOut: [
        ...['flows', 'half-recovered', 'kill', 'moves', 'outage', 'poison', 'stop', 'surroundings'],
        ...['row-decides', 'taken-back', 'transaction-hand-off', 'wrapped', 'zombie'],
      ],
    },
    { db: 'mysql', version: '5.81.5', only: ['conformance'], leaveOutAreas: SECOND_VERSION },
    { db: 'mariadb', version: '6.7.0', only: [] },
  ],
}

const graphileWorker: Suite = {
  folder: 'graphile-worker',
  name: ({ db, version }) => `graphile-worker ${version} on ${db}`,
  installed: '0.17.3',
  env: (version) => ({
    HOLDFAST_TEST_GRAPHILE_WORKER:
      version === graphileWorker.installed ? '' : `graphile-worker-${version.split('.')[1]}`,
  }),
  services: 'postgres,pgbouncer,mysql',
  legs: [
    {
      db: 'postgres',
      version: '0.18.0',
      leaveOut: [
        ...['exhausted', 'long-job', 'options', 'outage', 'pause', 'refused-release', 'release', 'settle'],
        ...['stop', 'stray-jobs', 'superseded', 'surroundings', 'suspects', 'tenants', 'thrown'],
        ...['transaction-hand-off', 'unprotected', 'upgrade', 'upkeep'],
      ],
      leaveOutAreas: CONTRACT,
    },
    { db: 'postgres@14', version: '0.17.3', only: ['expand', 'fence', 'fidelity', 'start'] },
    { db: 'postgres', version: '0.16.6', only: ['options', 'start', 'track'] },
  ],
}

/** The packages that a version of pg-boss is installed as. 12 asks for Node 22, and runs on 20 too. */
const BOSSES: Readonly<Record<string, string>> = {
  '10.4.2': '',
  '12.35.0': 'pg-boss-12-floor',
  '12.38.0': 'pg-boss-12',
}

const pgBoss: Suite = {
  folder: 'pg-boss',
  name: ({ db, version }) => `pg-boss ${version} on ${db}`,
  installed: '10.4.2',
  env: (version) => ({ HOLDFAST_TEST_PG_BOSS: BOSSES[version]! }),
  services: 'postgres,pgbouncer',
  legs: [
    {
      db: 'postgres',
      version: '12.38.0',
      leaveOut: ['expiry', 'kill', 'schemas', 'stop', 'surroundings', 'unprotected'],
      leaveOutAreas: CONTRACT,
    },
    {
      db: 'postgres@14',
      version: '10.4.2',
      only: ['conformance', 'zombie'],
      leaveOutAreas: SECOND_VERSION,
    },
    { db: 'postgres@14', version: '12.35.0', only: [] },
  ],
}

export const suites = { core, kit, beeQueue, bullmq, graphileWorker, pgBoss }
