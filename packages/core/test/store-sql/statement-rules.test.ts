import { readdirSync, readFileSync } from 'node:fs'
import { forbidden, refuseForbidden } from '@holdfast/chaos'
import { describe, expect, it } from 'vitest'
import { comparesTimes, goldenFiles, goldenStatements } from '../support/statements.js'

const KINDS = ['postgres', 'mysql'] as const

/** For each rule of the deny-list statements that break it. */
const BROKEN: Record<string, readonly string[]> = {
  'MySQL has no RETURNING': ['insert into holdfast_tasks (id) values (?) returning id'],
  'INSERT IGNORE cuts values that are too long': ['insert  ignore into holdfast_tasks (id) values (?)'],
  'MariaDB has no row alias': [
    'insert into holdfast_locks (name) values (?) as new on duplicate key update n = 1',
  ],
  'MySQL has no CREATE INDEX IF NOT EXISTS': ['create index if not exists i on holdfast_tasks (queue)'],
  'MariaDB has no FOR UPDATE OF': ['select 1 from holdfast_tasks as t for update of t'],
  'MariaDB has no FOR SHARE': ['select 1 from holdfast_tasks for share'],
  'MariaDB has no LATERAL': ['select 1 from holdfast_tasks, lateral (select 1) as x'],
  'MariaDB has no ->>': ["select payload->>'$.a' from holdfast_tasks"],
  'the session’s time zone would matter': [
    'select now() from holdfast_tasks',
    'select current_timestamp(3) from holdfast_tasks',
    'select sysdate() from holdfast_tasks',
    'select unix_timestamp(created_at) from holdfast_tasks',
  ],
  'a TIMESTAMP column may change itself': ['create table holdfast_x (at timestamp(3) not null)'],
  'double quotes are strings here': ['select "id" from holdfast_tasks'],
  'parameters are question marks here': ['select 1 from holdfast_tasks where id = $1'],
  'no session state': [
    'create temporary table holdfast_x (id int)',
    "set session sql_mode = '' /* holdfast */",
    'set @holdfast = 1',
    'set global wait_timeout = 1',
  ],
}

describe('the deny-list for MySQL and MariaDB', () => {
  it('has an example for every rule', () => {
    expect(Object.keys(BROKEN).toSorted()).toEqual([...new Set(forbidden.map(([, why]) => why))].toSorted())
    for (const [pattern, why] of forbidden) {
      expect(
        BROKEN[why]!.filter((statement) => pattern.test(statement)),
        String(pattern),
      ).not.toEqual([])
    }
  })

  it.each(Object.entries(BROKEN).flatMap(([why, all]) => all.map((statement) => [statement, why])))(
    'refuses %s',
    (statement, why) => {
      expect(() => refuseForbidden(statement)).toThrow(why)
    },
  )

  it.each([
    'select timestampdiff(microsecond, a, utc_timestamp(3)) from holdfast_tasks',
    'set session wait_timeout = 2',
    'set transaction isolation level read committed',
    'set session sql_mode = "" -- what a test sets up is its own',
  ])('lets pass %s', (statement) => {
    expect(() => refuseForbidden(statement)).not.toThrow()
  })

  it('finds nothing in any golden statement', () => {
    const statements = goldenStatements('mysql')
    expect(statements.length).toBeGreaterThan(80)
    for (const { file, statement } of statements) {
      // The comment makes it one of ours whatever it names.
      expect(() => refuseForbidden(`${statement} /* holdfast */`), file).not.toThrow()
    }
  })
})

describe('golden statements', () => {
  it.each([
    'select 1 from t where created_at = $1',
    'select 1 from t where `q`.`retry_at` = ?',
    'delete from t where ? = last_seen_at',
    'update t set a_at = ? where a_at <=> ?',
    'select 1 from t as a join t as b on a.quarantined_at = b.quarantined_at',
    'select 1 from t where retry_at in (?)',
    'select 1 from t where retry_at is not distinct from $1',
  ])('that compare a time would be found: %s', (statement) => {
    expect(comparesTimes(statement)).toBe(true)
  })

  it.each([
    'update t set created_at = ?, retry_at = null where id = ? and retry_at <= now',
    'insert into t (a_at) values (?) on duplicate key update a_at = values(a_at)',
    'insert into t (a_at) values ($1) on conflict (id) do update set "a_at" = "excluded"."a_at"',
    'select 1 from t where lease_expires_at >= ? and retry_at is null',
  ])('that only assign or order times are right: %s', (statement) => {
    expect(comparesTimes(statement)).toBe(false)
  })

  it.each(KINDS)('for %s ask for no time to equal another', (kind) => {
    const wrong = goldenStatements(kind).filter(({ statement }) => comparesTimes(statement))
    expect(wrong).toEqual([])
  })

  it('are there for each kind of database, and each is used by a test', () => {
    const folder = new URL('./', import.meta.url)
    const sources = readdirSync(folder)
      .filter((file) => file.endsWith('.test.ts'))
      .map((file) => readFileSync(new URL(file, folder), 'utf8'))
      .join('')
    const named = [...sources.matchAll(/\bgolden\(\s*'([^']+)'/g)].map(([, name]) => `${name}.sql`)
    expect(named.length).toBe(new Set(named).size)
    for (const kind of KINDS) expect(goldenFiles(kind)).toEqual(named.toSorted())
  })
})
