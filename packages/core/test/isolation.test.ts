import { Child, onPostgres, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Isolation, type Leave } from '../src/task/isolation.js'
import { Fixture, refs } from './support/fixture.js'
import { dialect, HOUR } from './support/sql.js'
import type { WorkerOptions } from './support/supervised-worker.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

const NEVER = new AbortController().signal
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('places in a process', () => {
  /** Asks for a place and notes when it is had. */
  function ask(isolation: Isolation, got: string[], name: string, signal = NEVER): { leave: Promise<Leave> } {
    const asked = name.startsWith('suspect') ? isolation.enterAlone([signal]) : isolation.enter([signal])
    return {
      leave: asked.then((leave) => {
        got.push(name)
        return leave
      }),
    }
  }

  it('are had together by ordinary tasks, and alone by suspects, who wait for the others', async () => {
    const isolation = new Isolation()
    const got: string[] = []
    const a = ask(isolation, got, 'a')
    const b = ask(isolation, got, 'b')
    const suspect = ask(isolation, got, 'suspect')
    ;(await a.leave)()
    await turn()
    expect(got).toEqual(['a', 'b'])
    ;(await b.leave)()
    await suspect.leave
    expect(got).toEqual(['a', 'b', 'suspect'])
  })

  it('are refused to ordinary tasks while a suspect runs or waits', async () => {
    const isolation = new Isolation()
    const got: string[] = []
    const a = await ask(isolation, got, 'a').leave
    const suspect = ask(isolation, got, 'suspect')
    const b = ask(isolation, got, 'b')
    await turn()
    expect(got).toEqual(['a'])
    a()
    const leave = await suspect.leave
    await turn()
    expect(got).toEqual(['a', 'suspect'])
    leave()
    await b.leave
  })

  it('go in turns: after a suspect those who waited, then the next suspect', async () => {
    const isolation = new Isolation()
    const got: string[] = []
    const first = await ask(isolation, got, 'suspect 1').leave
    const second = ask(isolation, got, 'suspect 2')
    const ordinary = [ask(isolation, got, 'a'), ask(isolation, got, 'b')]
    first()
    for (const { leave } of ordinary) (await leave)()
    await second.leave
    expect(got).toEqual(['suspect 1', 'a', 'b', 'suspect 2'])
  })

  it('are left once, however often that is said', async () => {
    const isolation = new Isolation()
    const got: string[] = []
    const a = await ask(isolation, got, 'a').leave
    await ask(isolation, got, 'b').leave
    const suspect = ask(isolation, got, 'suspect')
    a()
    a()
    await turn()
    expect(got).toEqual(['a', 'b'])
    void suspect
  })

  it('are no longer waited for once the signal aborts, and those behind go on', async () => {
    const isolation = new Isolation()
    const got: string[] = []
    await ask(isolation, got, 'a').leave
    const stop = new AbortController()
    const suspect = ask(isolation, got, 'suspect', stop.signal)
    const b = ask(isolation, got, 'b')
    stop.abort(new Error('stopped'))
    await expect(suspect.leave).rejects.toThrow('stopped')
    await b.leave
    expect(got).toEqual(['a', 'b'])
    await expect(isolation.enterAlone([stop.signal])).rejects.toThrow('stopped')
  })

  it('are had in company by whoever has waited too long, for it may be waited for', async () => {
    const isolation = new Isolation({ ordinary: 30, suspect: 60 })
    const got: string[] = []
    const a = await ask(isolation, got, 'a').leave
    const suspect = ask(isolation, got, 'suspect')
    const b = await ask(isolation, got, 'b').leave
    const alone = await suspect.leave
    expect(got).toEqual(['a', 'b', 'suspect'])
    // Nobody else comes in before it has left.
    const c = ask(isolation, got, 'c')
    a()
    b()
    await turn()
    expect(got).toHaveLength(3)
    alone()
    await c.leave
  })

  it('are not waited for by what a task registers in turn', async () => {
    const isolation = new Isolation()
    const alone = await isolation.enterAlone([NEVER])
    await isolation.within(async () => {
      ;(await isolation.enter([NEVER]))()
      ;(await isolation.enterAlone([NEVER]))()
    })
    const got: string[] = []
    const outside = ask(isolation, got, 'outside')
    await turn()
    expect(got).toEqual([])
    alone()
    await outside.leave
  })
})

describe('a suspect', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const crashed = (ref: string, count: number, msAgo = 0) =>
    sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values ('table', ${ref}, ${count}, ${dialect.after(-msAgo)})`.execute(fixture.db)

  const registered = async () => (await taskRows(fixture.db)).map(({ job_ref }) => job_ref)

  it('is registered only when the others have ended, also in one statement with them', async () => {
    await crashed('suspect', 2)
    await crashed('once', 1)
    const monitor = await fixture.started()
    const all = ['suspect', 'once', 'a', 'b'].map((jobRef) => monitor.register({ payload: null, jobRef }))
    const [suspect, ...others] = all
    for (const task of await Promise.all(others)) {
      expect(await registered()).not.toContain('suspect')
      await task.complete()
    }
    const held = await suspect!
    expect(await registered()).toEqual(['suspect'])
    await held.complete()
  })

  it('is none once its crashes are too long ago, and none without isolateSuspects', async () => {
    await crashed('old', 2, HOUR)
    await crashed('new', 2)
    const monitor = await fixture.started({ crashWindow: HOUR / 2 })
    await monitor.register({ payload: null, jobRef: 'a' })
    await monitor.register({ payload: null, jobRef: 'old' })
    const bold = await fixture.started({ isolateSuspects: false })
    await bold.register({ payload: null, jobRef: 'b' })
    await bold.register({ payload: null, jobRef: 'new' })
    expect((await registered()).sort()).toEqual(['a', 'b', 'new', 'old'])
  })

  it('waits for no task without a jobRef, which may last as long as its process', async () => {
    await crashed('suspect', 2)
    const monitor = await fixture.started()
    await monitor.register({ payload: null })
    await monitor.register({ payload: null, jobRef: 'suspect' })
    await monitor.register({ payload: null })
    expect(await taskRows(fixture.db)).toHaveLength(3)
  })

  it('that waits is refused when the monitor stops, and leaves no row', async () => {
    await crashed('suspect', 2)
    const monitor = await fixture.started()
    const other = await monitor.register({ payload: null, jobRef: 'a' })
    const waiting = monitor.register({ payload: null, jobRef: 'suspect' })
    waiting.catch(() => undefined)
    const stopped = monitor.stop({ drain: 60_000 })
    await expect(waiting).rejects.toMatchObject({ code: 'HOLDFAST_STOPPED' })
    await other.complete()
    await stopped
    expect(await taskRows(fixture.db)).toEqual([])
    expect(await enqueuedRefs(fixture.db)).toEqual([])
  })

  it('that waits gives up when its signal aborts, and leaves no row', async () => {
    await crashed('suspect', 2)
    const monitor = await fixture.started()
    const other = await monitor.register({ payload: null, jobRef: 'other' })
    const patience = new AbortController()
    const { signal } = patience
    const waiting = monitor.register({ payload: null, jobRef: 'suspect', signal })
    patience.abort(new Error('no more'))
    await expect(waiting).rejects.toThrow('no more')
    await expect(monitor.register({ payload: null, jobRef: 'late', signal })).rejects.toThrow('no more')
    expect(await registered()).toEqual(['other'])
    // Nobody is held up by it.
    await (await monitor.register({ payload: null, jobRef: 'next' })).complete()
    await other.complete()
  })

  it('is kept back by the monitor itself for a queue that has no delays, its crash counted once', async () => {
    await crashed('a', 1)
    const { child } = await fixture.holder({ refs: ['a', 'b'] })
    const survivor = await fixture.started({ recoveryBackoff: 1_500 })
    await child.kill()
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    const row = await sql<{ crashes: number; in_ms: number | string }>`
      select crashes, -${dialect.msSince(sql.ref('retry_at'))} as in_ms from holdfast_tasks
      where job_ref = 'a'`.execute(fixture.db)
    expect(row.rows).toEqual([{ crashes: 2, in_ms: expect.anything() }])
    expect(Number(row.rows[0]!.in_ms)).toBeGreaterThan(1_000)
    expect(Number(row.rows[0]!.in_ms)).toBeLessThan(3_600)
    const recovered: unknown[] = []
    survivor.on('recovered', (event) => recovered.push(event))
    await until(async () => (await taskRows(fixture.db)).length === 0)
    expect(await enqueuedRefs(fixture.db)).toEqual(['a', 'b'])
    const { rows } = await sql`select job_ref, count from holdfast_crashes order by job_ref`.execute(
      fixture.db,
    )
    expect(rows).toEqual([
      { job_ref: 'a', count: 2 },
      { job_ref: 'b', count: 1 },
    ])
    await until(() => recovered.length === 1)
    expect(recovered).toEqual([expect.objectContaining({ jobRef: 'a', crashes: 2 })])
  })

  it('given back by its process keeps its count under a new identity', async () => {
    await crashed('old-name', 2)
    const adapter = tableQueueAdapter()
    const renaming = {
      ...adapter,
      async recover(...[jobs]: Parameters<typeof adapter.recover>) {
        return jobs.map(() => ({ kind: 'requeued', jobRef: 'new-name' }) as const)
      },
    }
    const monitor = await fixture.started({ adapters: [renaming] })
    await (await monitor.register({ payload: null, jobRef: 'old-name' })).release()
    const { rows } = await sql`select job_ref, count from holdfast_crashes order by job_ref`.execute(
      fixture.db,
    )
    expect(rows).toEqual([
      { job_ref: 'new-name', count: 2 },
      { job_ref: 'old-name', count: 2 },
    ])
  })
})

describe('one killer among a hundred', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
    const seq = onPostgres() ? sql`serial` : sql`bigint auto_increment`
    await sql`create table ledger (n ${seq} primary key, ref ${dialect.types.id} not null,
      what ${dialect.types.id} not null, pid int not null)`.execute(fixture.db)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is found and quarantined alone, and takes none of the others along more than twice', async () => {
    const innocents = refs(100, 'innocent')
    const jobs = ['killer', ...innocents].map((ref) => sql`(${ref}, 'x')`)
    await sql`insert into jobs (ref, body) values ${sql.join(jobs)}`.execute(fixture.db)
    const options: WorkerOptions = {
      url: fixture.database.url,
      concurrency: 20,
      monitor: { recoveryBackoff: 100, orphanThreshold: 800, heartbeatInterval: 150 },
    }
    let lives = 0
    const done = async () => {
      const { rows } = await sql<{ n: number | string }>`select
        (select count(*) from holdfast_quarantine)
          + (select count(distinct ref) from ledger where what = 'end') as n`.execute(fixture.db)
      return Number(rows[0]!.n) >= 101
    }
    for (;;) {
      await using worker = new Child(new URL('./support/supervised-worker.ts', import.meta.url), { options })
      lives += 1
      const end = await Promise.race([worker.exited, until(done).then(() => undefined)])
      if (end === undefined) break
      expect(end.signal).toBe('SIGKILL')
    }

    const { rows: quarantined } = await sql`select job_ref, crashes from holdfast_quarantine`.execute(
      fixture.db,
    )
    expect(quarantined).toEqual([{ job_ref: 'killer', crashes: 4 }])
    expect(lives).toBe(5)
    const { rows: finished } = await sql<{ ref: string }>`
      select distinct ref from ledger where what = 'end' order by ref`.execute(fixture.db)
    expect(finished.map(({ ref }) => ref)).toEqual(innocents)
    const { rows: counts } = await sql<{ most: number }>`
      select max(count) as most from holdfast_crashes where job_ref <> 'killer'`.execute(fixture.db)
    expect(counts[0]!.most).toBeLessThanOrEqual(2)

    const { rows: ledger } = await sql<Entry>`select ref, what, pid from ledger order by n`.execute(
      fixture.db,
    )
    const { company, isolated } = readLedger(ledger)
    expect(company).toEqual([])
    expect(isolated).toContain('killer')
  })
})

interface Entry {
  readonly ref: string
  readonly what: string
  readonly pid: number
}

/** Which suspects ran, and which of them not alone. */
function readLedger(ledger: readonly Entry[]): { company: string[]; isolated: string[] } {
  const company: string[] = []
  const isolated: string[] = []
  const starts = new Map<string, number>()
  let running = new Set<string>()
  let pid = 0
  const isSuspect = (ref: string): boolean => (starts.get(ref) ?? 0) > 2
  for (const entry of ledger) {
    if (entry.pid !== pid) running = new Set()
    pid = entry.pid
    if (entry.what === 'end') {
      running.delete(entry.ref)
      starts.set(entry.ref, starts.get(entry.ref)! - 1)
      continue
    }
    // Every start before this one that has no end ended in a crash.
    starts.set(entry.ref, (starts.get(entry.ref) ?? 0) + 1)
    running.add(entry.ref)
    const suspects = [...running].filter(isSuspect)
    if (suspects.length > 0 && running.size > 1) company.push([...running].join())
    if (isSuspect(entry.ref)) isolated.push(entry.ref)
  }
  return { company, isolated }
}
