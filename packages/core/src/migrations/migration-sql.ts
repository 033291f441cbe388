import { configError, show, storeProblems } from '../check-options.js'
import type { StoreOptions } from '../options.js'
import { type DialectName, dialectNamed } from '../store/dialect.js'
import type { MigrationId } from './migration.js'
import { MigrationStatements } from './statements.js'
import { migrations } from './steps.js'

export interface MigrationSqlOptions extends StoreOptions {
  /** `mysql` is MariaDB's too. */
  readonly dialect: DialectName
  /** The last step that is applied already. @default none is, not even the schema exists */
  readonly from?: MigrationId
  /** The last step to apply. @default the newest */
  readonly to?: MigrationId
}

/**
 * What `migrate()` does, as text for `psql` or `mysql`. Statements end with a semicolon at the end of a line; running
 * them again does no harm. The default output is published as `sql/<dialect>/<step>.sql`.
 *
 * @throws ConfigError
 */
export function migrationSql(options: MigrationSqlOptions): string {
  const { dialect: name, from, to } = options
  const problems = storeProblems(options)
  const ids = migrations.map(({ id }) => id)
  for (const [option, id] of Object.entries({ from, to })) {
    if (id !== undefined && !ids.includes(id)) {
      problems.push(`${option} must be one of ${ids.map(show).join(', ')}: ${show(id)}`)
    }
  }
  if (problems.length > 0) throw configError(problems)
  const statements = new MigrationStatements(dialectNamed(name), options)
  const steps = migrations.slice(
    from === undefined ? 0 : ids.indexOf(from) + 1,
    to === undefined ? undefined : ids.indexOf(to) + 1,
  )
  const start = from === undefined ? [...statements.createSchema(), statements.createMigrationsTable()] : []
  const parts = steps.map((step, index) => {
    const texts = [...(index === 0 ? start : []), ...statements.step(step)]
    return [`-- Holdfast, step ${step.id}`, ...texts.map((text) => `${layOut(text)};`)].join('\n\n')
  })
  return parts.map((part) => `${part}\n`).join('\n')
}

/** A column of a new table a line, for those who read it. */
function layOut(statement: string): string {
  if (!statement.startsWith('create table')) return statement
  let depth = 0
  let text = ''
  for (const [token] of statement.matchAll(/"[^"]*"|`[^`]*`|'[^']*'|, |[^"`']/g)) {
    if (token === ')') depth -= 1
    if (token === ')' && depth === 0) text += '\n'
    text += token === ', ' && depth === 1 ? ',\n  ' : token
    if (token === '(' && depth === 0) text += '\n  '
    if (token === '(') depth += 1
  }
  return text
}
