import type { AnyDatabase } from '@holdfast/chaos'
import { CompiledQuery, type DatabaseConnection, Kysely, MysqlDialect, PostgresDialect } from 'kysely'
import { createPool } from 'mysql2'
import pg from 'pg'
import { dialect } from './sql.js'

/** Connections with another default isolation level. */
export function withIsolation(url: string, level: string): AnyDatabase {
  const isPostgres = dialect.name === 'postgres'
  const text = `set session ${isPostgres ? 'characteristics as ' : ''}transaction isolation level ${level}`
  const onCreateConnection = async (connection: DatabaseConnection): Promise<void> => {
    await connection.executeQuery(CompiledQuery.raw(text))
  }
  return new Kysely({
    dialect: isPostgres
      ? new PostgresDialect({ pool: new pg.Pool({ connectionString: url }), onCreateConnection })
      : new MysqlDialect({ pool: createPool({ uri: url }), onCreateConnection }),
  })
}
