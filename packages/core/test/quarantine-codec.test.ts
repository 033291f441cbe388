import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { aesGcmCodec } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { quarantinedRows } from './support/quarantine.js'
import { rowsGone, tableQueueAdapter } from './support/table-queue.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

describe('encrypted payloads', () => {
  const key = (id: string) => ({ id, key: randomBytes(32) })
  const oldKey = key('old')
  const newKey = key('new')
  const SECRET = 'the secret of the payload'

  /** Leaves a job in flight in a process that is dead. */
  async function orphan(jobRef: string, codec?: ReturnType<typeof aesGcmCodec>): Promise<string> {
    const monitor = await fixture.started(codec === undefined ? {} : { codec })
    const task = await monitor.register({ payload: { SECRET }, jobRef })
    const { rows } = await sql<{ payload: string }>`
      select payload from holdfast_tasks where job_ref = ${jobRef}`.execute(fixture.db)
    await sql`update holdfast_tasks set process_id = ${`h:1:${jobRef}`} where id = ${task.id}`.execute(
      fixture.db,
    )
    await monitor.stop({ drain: 0 })
    return rows[0]!.payload
  }

  const bodies = async () =>
    (await sql<{ ref: string; body: string }>`select ref, body from jobs order by ref`.execute(fixture.db))
      .rows

  const body = JSON.stringify({ SECRET })

  it('can’t be read in the database, and come back decoded; those from before encryption too', async () => {
    const stored = await orphan('sealed', aesGcmCodec({ keys: [oldKey] }))
    expect(stored).toMatch(/^hf1:old:/)
    expect(stored).not.toContain('secret')
    expect(Buffer.from(stored.split(':')[2]!, 'base64url').toString()).not.toContain('secret')
    expect(await orphan('plain')).toBe(body)
    await fixture.started({ codec: aesGcmCodec({ keys: [oldKey] }) })
    await rowsGone(fixture.db)
    expect(await bodies()).toEqual([
      { ref: 'plain', body },
      { ref: 'sealed', body },
    ])
  })

  it('are written under the first key, and read under any', async () => {
    const before = await orphan('before', aesGcmCodec({ keys: [oldKey] }))
    const after = await orphan('after', aesGcmCodec({ keys: [newKey, oldKey] }))
    expect([before, after].map((stored) => stored.split(':')[1])).toEqual(['old', 'new'])
    await fixture.started({ codec: aesGcmCodec({ keys: [newKey, oldKey] }) })
    await rowsGone(fixture.db)
    expect(await bodies()).toEqual([
      { ref: 'after', body },
      { ref: 'before', body },
    ])
  })

  it('under a key nobody here has go to quarantine as they are, and are retried once the key is there', async () => {
    const stored = await orphan('sealed', aesGcmCodec({ keys: [oldKey] }))
    const without = await fixture.started({ codec: aesGcmCodec({ keys: [newKey] }) })
    await rowsGone(fixture.db)
    const [entry] = await quarantinedRows(fixture.db)
    expect(entry).toMatchObject({ job_ref: 'sealed', payload: stored })
    expect(entry!.reason).toContain('encrypted with key "old"')
    expect(entry!.last_error).toContain('HOLDFAST_PAYLOAD: ')
    expect(await without.quarantine.get(entry!.id)).toMatchObject({
      payload: undefined,
      payloadError: expect.stringContaining('encrypted with key "old"'),
      stored,
    })
    await expect(without.quarantine.retry(entry!.id)).rejects.toMatchObject({ code: 'HOLDFAST_PAYLOAD' })
    expect(await quarantinedRows(fixture.db)).toHaveLength(1)

    const withKey = fixture.monitor({ codec: aesGcmCodec({ keys: [newKey, oldKey] }) })
    expect((await withKey.quarantine.get(entry!.id))?.payload).toEqual({ SECRET })
    await withKey.quarantine.retry(entry!.id)
    expect(await bodies()).toEqual([{ ref: 'sealed', body }])
    expect(await quarantinedRows(fixture.db)).toEqual([])
  })

  it('that a release brings are encrypted too', async () => {
    const codec = aesGcmCodec({ keys: [oldKey] })
    const failing = new Set(['a'])
    const monitor = await fixture.started({ codec, adapters: [tableQueueAdapter({ failing })] })
    const task = await monitor.register({ payload: null, jobRef: 'a' })
    await task.release({ payload: { SECRET } })
    const { rows } = await sql<{ payload: string }>`select payload from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ payload: expect.stringMatching(/^hf1:old:/) }])
    failing.clear()
    await rowsGone(fixture.db)
    expect(await bodies()).toEqual([{ ref: 'a', body }])
  })
})
