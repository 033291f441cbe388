import { randomBytes } from 'node:crypto'
import { type AnyDatabase, adminUrl, connect, onPostgres, type TestDatabase } from '@holdfast/chaos'
import { type RawBuilder, sql } from 'kysely'

export interface LimitedUser extends AsyncDisposable {
  readonly name: string
  /** A pool of two connections as this user. */
  readonly db: AnyDatabase
  /** `what` is for instance `select on holdfast_tasks`. */
  grant(...what: readonly string[]): Promise<void>
}

/** A database user that may do nothing but what it is granted. */
export async function limitedUser(database: TestDatabase): Promise<LimitedUser> {
  const name = `u_${randomBytes(6).toString('hex')}`
  const owner = (statement: RawBuilder<unknown>) => statement.execute(database.db)
  await owner(
    onPostgres()
      ? sql`create role ${sql.id(name)} login password 'x'`
      : sql`create user ${sql.id(name)} identified by 'x'`,
  )
  // Not through PgBouncer, whose users are its own.
  const url = new URL(adminUrl())
  url.pathname = new URL(database.url).pathname
  url.username = name
  url.password = 'x'
  const db = connect(url.href, 2)
  return {
    name,
    db,
    async grant(...what) {
      for (const each of what) await owner(sql`grant ${sql.raw(each)} to ${sql.id(name)}`)
    },
    async [Symbol.asyncDispose]() {
      await db.destroy()
      if (onPostgres()) await owner(sql`drop owned by ${sql.id(name)}`)
      await owner(sql`drop ${sql.raw(onPostgres() ? 'role' : 'user')} ${sql.id(name)}`)
    },
  }
}
