import { type Situation, type TestQueue, testAdapter } from '@holdfast/adapter-testkit'
import { compiled, connect, legUrl } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, it } from 'vitest'
import type { AnyDatabase } from '../src/index.js'
import { pgBossAdapter } from '../src/index.js'
import { bossVersion, isTen, makeBoss, type TestBoss } from './support/boss.js'

interface BossQueue extends TestQueue {
  readonly boss: TestBoss
  readonly db: AnyDatabase
}

interface Row {
  readonly id: string
  readonly data: unknown
  readonly state: 'runnable' | 'delayed' | 'active' | 'completed' | 'failed'
  readonly fields: Record<string, unknown>
}

const list = async (db: AnyDatabase): Promise<Row[]> =>
  (
    await sql<Row>`
      select id::text as id, data, case when state in ('created', 'retry')
          then case when start_after <= now() then 'runnable' else 'delayed' end
          when state = 'cancelled' then 'failed' else state::text end as state,
        to_jsonb(job) - array['state', 'data', 'output', 'start_after', 'started_on', 'completed_on', 'keep_until',
          'heartbeat_on', 'retry_count'] as fields
      from pgboss.job where name = 'q' order by created_on`.execute(db)
  ).rows

const situations: Situation<BossQueue>[] = [
  {
    name: 'completed, with only its row left',
    ways: ['track'],
    outcome: 'finished',
    arrange: async ({ boss }, { id }) => void (await boss.complete('q', id)),
  },
  {
    name: 'expired by pg-boss and waiting again',
    ways: ['track'],
    outcome: 'alreadyThere',
    arrange: async ({ boss }, { id }) => void (await boss.fail('q', id)),
  },
  {
    name: 'cancelled',
    ways: ['track'],
    outcome: 'finished',
    arrange: async ({ boss }, { id }) => void (await boss.cancel('q', id)),
  },
  {
    name: 'deleted while it ran',
    ways: ['track'],
    outcome: 'finished',
    arrange: async ({ boss }, { id }) => void (await boss.deleteJob('q', id)),
  },
  {
    name: 'deleted, as pg-boss does with completed ones',
    ways: ['handOff'],
    outcome: 'requeued',
    arrange: async ({ boss }, { id }) => void (await boss.deleteJob('q', id)),
  },
  {
    name: 'on its last attempt',
    ways: ['track'],
    outcome: 'exhausted',
    arrange: async ({ db }, { id }) =>
      void (await sql`update pgboss.job set retry_limit = 0 where id = ${id}::uuid`.execute(db)),
  },
]

testAdapter<BossQueue>(
  { describe, it, beforeAll, afterAll },
  {
    name: `pg-boss ${bossVersion}`,
    ways: ['track', 'handOff'],
    worker: compiled(new URL('./support/kit-worker.ts', import.meta.url)),
    databases: [legUrl()],
    async setup({ database: { url, db } }) {
      const start = async (): Promise<TestBoss> => {
        const boss = makeBoss({ connectionString: url, max: 2 })
        boss.on('error', () => undefined)
        await boss.start()
        return boss
      }
      const boss = await start()
      await boss.createQueue('q', { name: 'q' })
      const stop = (one: TestBoss): Promise<void> => one.stop({ graceful: false })
      const add = async (data: object, options: object): Promise<{ id: string; jobRef: string }> => {
        const id = await boss.send('q', data, options)
        return { id: id!, jobRef: `q/${id}` }
      }
      return {
        ...{ boss, db, options: { url } },
        probes: {
          add: (data, { maxAttempts } = {}) =>
            add(data, maxAttempts === undefined ? {} : { retryLimit: maxAttempts - 1 }),
          list: async () => (await list(db)).map((row) => ({ ...row, jobRef: `q/${row.id}` })),
        },
        async connect() {
          const own = connect(url, 2)
          const another = await start()
          return {
            adapter: pgBossAdapter({ boss: another, db: own }),
            async close() {
              await stop(another)
              await own.destroy()
            },
          }
        },
        close: () => stop(boss),
      }
    },
    samples: [
      {
        name: 'a priority, a key and rules of its own',
        async add({ boss }, data) {
          await boss.createQueue('dead', { name: 'dead' })
          const rules = {
            retryLimit: 7,
            retryDelay: 3,
            retryBackoff: true,
            expireInSeconds: 77,
            deadLetter: 'dead',
          }
          const more = isTen
            ? {}
            : { group: { id: 'g', tier: 't' }, deleteAfterSeconds: 99, heartbeatSeconds: 60 }
          const id = await boss.send('q', data, { priority: 9, singletonKey: 'k', ...rules, ...more })
          return { id: id!, jobRef: `q/${id}` }
        },
      },
    ],
    situations,
  },
)
