import { connect, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Events } from '../src/events.js'
import { resolveConfig } from '../src/options.js'
import { Recovery } from '../src/recovery/recovery.js'
import { orphanOwners } from '../src/store/orphans.js'
import { openStore } from '../src/store/store.js'
import { fast } from './support/fast.js'
import { Fixture, refs } from './support/fixture.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

const ORPHANS = 1_000

describe.each([2, 5])('%i sweepers racing over 1,000 orphans', (sweepers) => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('recover each exactly once', async () => {
    const racing = await Promise.all(
      Array.from({ length: sweepers }, () => fixture.holder({ monitor: { batchSize: 50 } })),
    )
    const { child } = await fixture.holder({ refs: refs(ORPHANS) })
    await child.kill()
    await until(async () => (await taskRows(fixture.db)).length === 0)
    expect(await enqueuedRefs(fixture.db)).toEqual(refs(ORPHANS))
    for (const { child: sweeper } of racing) expect(sweeper.process.exitCode).toBeNull()
  })

  it('recover each exactly once even with no lock to keep them apart', async () => {
    const { child, processId } = await fixture.holder({ refs: refs(ORPHANS) })
    await child.kill()
    await sql`update holdfast_processes set state = 'dead' where process_id = ${processId}`.execute(
      fixture.db,
    )
    const done = await Promise.all(
      Array.from({ length: sweepers }, async () => {
        const db = connect(fixture.database.url, 2)
        const adapter = tableQueueAdapter()
        const { config, logger } = resolveConfig({ db, adapters: [adapter], ...fast, batchSize: 50 })
        const store = openStore(db, {})
        const recovery = new Recovery({
          ...{ store, config, logger, codec: undefined },
          events: new Events(logger),
          byProcess: () => 'racer',
        })
        let recovered = 0
        for (const owner of await orphanOwners(store)) {
          recovered += (await recovery.recoverOwner(owner, { adapter })).recovered
        }
        await db.destroy()
        return recovered
      }),
    )
    expect(done.reduce((sum, count) => sum + count, 0)).toBe(ORPHANS)
    expect(await enqueuedRefs(fixture.db)).toEqual(refs(ORPHANS))
    expect(await taskRows(fixture.db)).toEqual([])
  })
})
