import { readdirSync, readFileSync } from 'node:fs'

const GOLDEN = new URL('../store-sql/golden/', import.meta.url)

export interface GoldenStatement {
  readonly file: string
  readonly statement: string
}

/** The names of the golden files of one kind of database. */
export const goldenFiles = (kind: string): string[] => readdirSync(new URL(`${kind}/`, GOLDEN)).toSorted()

/** Every statement of all golden files of one kind of database. */
export const goldenStatements = (kind: string): GoldenStatement[] =>
  goldenFiles(kind).flatMap((file) =>
    readFileSync(new URL(`${kind}/${file}`, GOLDEN), 'utf8')
      .split(/;\n+/)
      .filter((statement) => statement !== '')
      .map((statement) => ({ file, statement })),
  )

const ASSIGNED = /\bset\b(?! transaction| session)[^;]*?(?=\bwhere\b|$)/gis
const ON_CONFLICT = /\bon (conflict|duplicate key)\b.*$/is
const TIME = String.raw`[\w."\`]*_at\b["\`]?`
const EQUAL = String.raw`\s*(?<![<>!])(=|<=>)\s*`
const COMPARED = new RegExp(
  `${TIME}${EQUAL}|${EQUAL}${TIME}|${TIME}\\s*(not\\s+)?in\\s*\\(|${TIME}\\s+is\\s+(not\\s+)?distinct`,
  'i',
)

/**
 * Whether a statement asks for a time column to equal something. Precisions differ between databases, drivers and
 * columns, so such a row may be there and never be found.
 */
export const comparesTimes = (statement: string): boolean =>
  COMPARED.test(statement.replace(ASSIGNED, '').replace(ON_CONFLICT, ''))
