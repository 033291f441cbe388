import { freshDatabase, onPostgres, type TestDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DatabaseError, migrate, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { type LimitedUser, limitedUser } from './support/limited-user.js'
import { tableQueueAdapter } from './support/table-queue.js'

const TABLES = ['processes', 'tasks', 'locks', 'crashes', 'quarantine', 'recoveries'] as const

describe('a database user without the right to create tables', () => {
  let database: TestDatabase
  let user: LimitedUser
  beforeEach(async () => {
    database = await freshDatabase()
    await migrate(database.db)
    user = await limitedUser(database)
  })
  afterEach(async () => {
    await user[Symbol.asyncDispose]()
    await database[Symbol.asyncDispose]()
  })

  const monitor = () => new TaskMonitor({ db: user.db, adapters: [tableQueueAdapter()], ...fast })
  const startError = async (): Promise<DatabaseError> => {
    const error = await monitor()
      .start()
      .then(() => undefined)
      .catch((reason) => reason)
    if (!DatabaseError.is(error)) throw new Error('start() did not fail as it should', { cause: error })
    return error
  }
  const all = TABLES.map((table) => `select, insert, update, delete on holdfast_${table}`)

  it('runs with the four rights on each table and the right to read the migrations', async () => {
    await user.grant('select on holdfast_migrations', ...all)
    const limited = monitor()
    await limited.start()
    const task = await limited.register({ payload: null, jobRef: 'a' })
    await limited.updateHeartbeats()
    await limited.cleanupOrphanedTasks()
    await task.complete()
    expect(await limited.quarantine.list()).toEqual([])
    await limited.stop({ drain: 0 })
  })

  it('that lacks some is told all of them at the start, with the grants to make', async () => {
    const [, , locks, crashes, quarantine, recoveries] = all
    await user.grant('select on holdfast_migrations', locks!, crashes!, quarantine!, recoveries!)
    await user.grant('select, insert, update on holdfast_tasks', 'select, insert on holdfast_processes')
    const { message, cause } = await startError()
    expect(message).toContain(user.name)
    expect(message).toMatch(/grant update, delete on .holdfast_processes. to …/)
    expect(message).toMatch(/grant delete on .holdfast_tasks. to …/)
    expect(message).not.toMatch(/select|insert|locks|crashes|quarantine|recoveries|migrations/)
    expect(cause).toBeInstanceOf(Error)
    await user.grant('update, delete on holdfast_processes', 'delete on holdfast_tasks')
    const limited = monitor()
    await limited.start()
    await limited.stop({ drain: 0 })
  })

  it('that may do nothing at all is told so', async () => {
    await user.grant('select on holdfast_locks')
    expect((await startError()).message).toMatch(/grant select on .holdfast_migrations. to …/)
  })

  it.runIf(onPostgres())('that may not even look into the schema is told so, once', async () => {
    const place = { schema: 'ho ld' }
    await migrate(database.db, place)
    const placed = () => new TaskMonitor({ db: user.db, adapters: [tableQueueAdapter()], ...fast, ...place })
    const refused = (message: RegExp) => ({
      code: 'HOLDFAST_DATABASE',
      message: expect.stringMatching(message),
    })
    await expect(placed().start()).rejects.toMatchObject(
      refused(/: grant usage on schema "ho ld" to …; grant select on "ho ld"."holdfast_migrations" to …$/),
    )
    await user.grant('usage on schema "ho ld"', 'select on "ho ld".holdfast_migrations')
    await expect(placed().start()).rejects.toMatchObject(
      refused(/: grant select, insert, update, delete on "ho ld"/),
    )
    await expect(placed().start()).rejects.not.toMatchObject(refused(/usage/))
    await user.grant('select, insert, update, delete on all tables in schema "ho ld"')
    const limited = placed()
    await limited.start()
    await limited.stop({ drain: 0 })
  })

  it('is told by migrate() what the database refused', async () => {
    await user.grant('select on holdfast_locks')
    // Up to Postgres 14 everyone may.
    if (onPostgres()) await sql`revoke create on schema public from public`.execute(database.db)
    await expect(migrate(user.db, { tablePrefix: 'new_' })).rejects.toMatchObject({
      code: 'HOLDFAST_DATABASE',
      message: expect.stringMatching(/Could not create or upgrade Holdfast's tables: .*(denied|permission)/),
    })
  })
})
