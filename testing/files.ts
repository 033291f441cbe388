import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const SUFFIX = '.test.ts'

/** The test files in a package's folder, as the suites name them: within `test`, and without their suffix. */
export function testsIn(folder: string): string[] {
  const files = readdirSync(join(folder, 'test'), { recursive: true, encoding: 'utf8' })
  return files.flatMap((file) => (file.endsWith(SUFFIX) ? file.slice(0, -SUFFIX.length) : []))
}

/** The pattern that vitest excludes such a file by. */
export const patternOf = (name: string): string => `test/${name}${SUFFIX}`

/** The name in such a pattern, or undefined for a pattern of another kind. */
export const nameIn = (pattern: string): string | undefined =>
  pattern.startsWith('test/') && pattern.endsWith(SUFFIX) ? pattern.slice(5, -SUFFIX.length) : undefined
