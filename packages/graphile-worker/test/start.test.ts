import { until } from '@holdfast/chaos'
import { TaskMonitor } from '@holdfast/core'
import type { Runner, TaskList } from 'graphile-worker'
import { sql } from 'kysely'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { graphileWorkerAdapter } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { graphile } from './support/graphile.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

const waited = async (ms: number): Promise<void> => {
  const since = performance.now()
  await until(() => performance.now() - since > ms)
}

it('no job is taken before the pool that takes it is protected', async () => {
  await sql`create function refuse() returns trigger language plpgsql as $$ begin
    if not exists (select from gates where name = 'register') then raise exception 'refused'; end if;
    return new; end $$`.execute(fixture.db)
  await sql`create trigger refuse before insert on holdfast_tasks for each row execute function refuse()`.execute(
    fixture.db,
  )
  await fixture.worker({ pollInterval: 100 })
  await fixture.add('guarded')
  await waited(1_000)
  expect(await fixture.jobs()).toEqual([expect.objectContaining({ attempts: 0, lockedBy: null })])
  await fixture.openGate('register')
  await fixture.finished(1)
})

it('no job is taken before the monitor has started', async () => {
  const adapter = graphileWorkerAdapter()
  await using monitor = new TaskMonitor({ db: fixture.db, adapters: [adapter] })
  const ran: string[] = []
  const taskList: TaskList = { guarded: (_, { job }) => void ran.push(job.id) }
  const warnings: string[] = []
  const runner: Runner = await graphile.run({
    connectionString: fixture.database.url,
    noHandleSignals: true,
    pollInterval: 100,
    taskList,
    preset: { plugins: [adapter.plugin] },
    logger: new graphile.Logger(
      () => (level, message) => void (level === 'warning' && warnings.push(message)),
    ),
  })
  const id = await fixture.add('guarded')
  await waited(500)
  expect(ran).toEqual([])
  expect(await fixture.jobs()).toEqual([expect.objectContaining({ attempts: 0, lockedBy: null })])
  expect(warnings).toContain('Holdfast: no job is taken before `await monitor.start()`.')
  await monitor.start()
  await until(() => ran.length > 0)
  expect(ran).toEqual([id])
  await runner.stop()
})

it('a task list may serve a worker without the plugin, too: its tasks are then as they were', async () => {
  const adapter = graphileWorkerAdapter()
  await using monitor = new TaskMonitor({ db: fixture.db, adapters: [adapter] })
  await monitor.start()
  const kinds: string[][] = []
  const taskList: TaskList = {
    guarded: async () => void kinds.push((await fixture.tasks()).map(({ kind }) => kind)),
  }
  const options = { connectionString: fixture.database.url, noHandleSignals: true, taskList }
  const quiet = new graphile.Logger(() => () => undefined)
  for (const plugins of [[adapter.plugin], [], [adapter.plugin]]) {
    await fixture.add('guarded')
    await graphile.runOnce({ ...options, preset: { plugins }, logger: quiet })
    // A sweep may have the pool's row just now.
    await until(async () => (await fixture.tasks()).length === 0)
  }
  expect(kinds).toEqual([['guard'], [], ['guard']])
  expect(await fixture.jobs()).toEqual([])
})
