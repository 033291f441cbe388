/** What MySQL and MariaDB don't both understand, or understand wrongly: `docs/architecture.md`, "Databases". */
export const forbidden: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/\breturning\b/i, 'MySQL has no RETURNING'],
  [/\binsert\s+ignore\b/i, 'INSERT IGNORE cuts values that are too long'],
  [/\bvalues\s*\([^)]*\)\s+as\s+new\b/i, 'MariaDB has no row alias'],
  [/\bindex\s+if\s+not\s+exists\b/i, 'MySQL has no CREATE INDEX IF NOT EXISTS'],
  [/\bfor\s+(update|share)\s+of\b/i, 'MariaDB has no FOR UPDATE OF'],
  [/\bfor\s+share\b/i, 'MariaDB has no FOR SHARE'],
  [/\blateral\b/i, 'MariaDB has no LATERAL'],
  [/->>/, 'MariaDB has no ->>'],
  [/\b(now|current_timestamp|sysdate|curdate|curtime)\s*\(/i, 'the session’s time zone would matter'],
  [/\bunix_timestamp\b/i, 'the session’s time zone would matter'],
  [/\btimestamp\b(?!diff|add)/i, 'a TIMESTAMP column may change itself'],
  [/"/, 'double quotes are strings here'],
  [/\$\d/, 'parameters are question marks here'],
  [/\bcreate\s+temporary\b/i, 'no session state'],
  [/\bset\s+(?!session\s+(wait_timeout|transaction)|transaction\b)(session|global|@)/i, 'no session state'],
]

/** @throws Error naming the rule that a statement for MySQL and MariaDB breaks */
export function refuseForbidden(statement: string): void {
  // Only ours: tests may set up what they like.
  if (!/holdfast|savepoint|wait_timeout/.test(statement)) return
  for (const [pattern, why] of forbidden) {
    if (pattern.test(statement)) throw new Error(`${why}: ${statement}`)
  }
}
