import { until } from '@holdfast/chaos'
import { ConfigError } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { graphileWorkerAdapter } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { locksByWorker } from './support/graphile.js'
import type { WorkerOptions } from './support/worker.js'

describe('how a job is protected', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const kindsWhileRunning = async (): Promise<string[]> => {
    await fixture.add('named', { gate: 'open' })
    await fixture.started(1)
    return (await fixture.tasks()).map(({ kind }) => kind).sort()
  }

  /** No worker begins, and why is said; be it that `run()` fails or that its pool ends. */
  const refused = async (options: Partial<WorkerOptions>, why: string): Promise<void> => {
    const child = fixture.child(options)
    const hasEnded = (): boolean =>
      child.process.exitCode !== null ||
      child.messages.some((message) => (message as { type: string }).type === 'runnerEnded')
    await fixture.add('guarded')
    await until(hasEnded)
    expect(child.output).toContain(why)
    expect(await fixture.ledger()).toEqual([])
    expect((await fixture.jobs()).map(({ attempts }) => attempts)).toEqual([0])
  }

  it('is by default behind the row of its pool', async () => {
    await fixture.worker()
    expect(await kindsWhileRunning()).toEqual(['guard'])
  })

  it('has a row of its own by default, too, when the job is tried again: it may have killed its process', async () => {
    await fixture.add('named', { gate: 'open' })
    await sql`update graphile_worker._private_jobs set attempts = 1`.execute(fixture.db)
    await fixture.worker({ pollInterval: 100 })
    await fixture.started(1)
    expect((await fixture.tasks()).map(({ kind }) => kind).sort()).toEqual(['guard', 'started'])
  })

  it('is chosen for all tasks', async () => {
    await fixture.worker({ adapter: { mode: 'track' } })
    expect(await kindsWhileRunning()).toEqual(['guard', 'started'])
  })

  it('is chosen by task', async () => {
    await fixture.worker({
      adapter: { mode: 'track', tasks: { named: { mode: 'handOff', concurrency: 5 } } },
    })
    expect(await kindsWhileRunning()).toEqual(['guard', 'handOff'])
    await until(async () => (await fixture.jobs()).length === 0)
    await fixture.openGate('open')
    await fixture.finished(1)
    await until(async () => (await fixture.tasks()).length === 1)
  })

  it('does not change for a task that its options leave alone', async () => {
    await fixture.worker({ adapter: { tasks: { guarded: { mode: 'track' } } } })
    expect(await kindsWhileRunning()).toEqual(['guard'])
  })

  it('can’t be chosen twice, by wrapping and by name: no worker starts', async () => {
    await refused(
      { adapter: { tasks: { tracked: { mode: 'guard' } } } },
      'Task "tracked" is wrapped by the adapter and named in its option `tasks`: choose one.',
    )
  })

  it('can’t be seen to in a frozen task list: no worker starts, and what to do is said', async () => {
    await refused({ frozen: true }, '"guarded" can\'t be protected in it: pass a copy, { ...taskList }.')
  })

  it('needs the schema of the worker: no worker starts on another', async () => {
    await refused(
      { runner: { schema: 'elsewhere' } },
      `pass { schema: 'elsewhere' } to graphileWorkerAdapter.`,
    )
  })

  it.runIf(locksByWorker)(
    'needs locks that are new with each process (where they are the worker’s: 0.16)',
    async () => {
      await refused({ concurrency: 1, runner: { workerId: 'mine' } as object }, 'leave workerId out')
    },
  )
})

describe('the options of the adapter', () => {
  it('are refused before any work starts, all that are wrong at once', () => {
    const wrong = {
      name: '',
      schema: 7,
      db: {},
      mode: 'watch',
      onExhausted: 'again',
      concurrency: 3,
      sweepUnknownLocks: 1_000,
      surprise: true,
      tasks: { a: { mode: 'handOff' }, b: { maxRuntime: 5 }, c: null },
    }
    const problems = [
      'name must be a non-empty string',
      'schema must be a non-empty string: 7',
      "db must be a Kysely on graphile-worker's database",
      'sweepUnknownLocks must be at least 600000 ms: 1000',
      "mode must be 'guard', 'track' or 'handOff': 'watch'",
      "onExhausted must be 'fail' or 'refundOnce': 'again'",
      'surprise is no option of a task',
      "tasks['a'].concurrency must be a whole number of at least 1: undefined",
      "tasks['b'].maxRuntime is for the modes 'track' and 'handOff'",
      "tasks['c'].must be an object: null",
    ]
    expect(() => graphileWorkerAdapter(wrong as never)).toThrow(ConfigError)
    for (const problem of problems) expect(() => graphileWorkerAdapter(wrong as never)).toThrow(problem)
  })

  it('name the queue by the schema, too, unless that is the usual one', () => {
    const nameOf = (options: object) => graphileWorkerAdapter(options).name
    expect(nameOf({})).toBe('graphile-worker')
    expect(nameOf({ schema: 'graphile_worker', name: 'mine' })).toBe('mine')
    expect(nameOf({ schema: 'tenant_a' })).toBe('graphile-worker@tenant_a')
    expect(nameOf({ schema: 'tenant_a', name: 'mine' })).toBe('mine@tenant_a')
    expect(nameOf({ schema: 'a'.repeat(60), name: 'n'.repeat(127) })).toHaveLength(188)
    const refused: [object, string][] = [
      [
        { name: 'graphile-worker@tenant_a' },
        'name must be without "@", after which the schema is put: \'graph',
      ],
      [{ schema: 'a'.repeat(60), name: 'n'.repeat(128) }, "at most 188 characters together: 'nnn"],
      [{ name: 'n'.repeat(189) }, 'at most 188 characters together'],
    ]
    for (const [options, problem] of refused) {
      expect(() => nameOf(options)).toThrow(ConfigError)
      expect(() => nameOf(options)).toThrow(problem)
    }
  })

  it('of a wrapped task are checked where it is wrapped', () => {
    const adapter = graphileWorkerAdapter()
    for (const concurrency of [0, 1.5, Number.NaN, undefined]) {
      expect(() => adapter.handOff(async () => undefined, { concurrency: concurrency as number })).toThrow(
        /adapter\.handOff\(\): concurrency must be .*: /,
      )
    }
    expect(() => adapter.track(async () => undefined, { concurrency: 1 } as never)).toThrow(ConfigError)
  })

  it('make an object that can’t be changed', () => {
    expect(Object.isFrozen(graphileWorkerAdapter())).toBe(true)
  })
})
