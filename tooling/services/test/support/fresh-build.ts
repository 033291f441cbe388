import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')

/** The tests use what others use, the built package: a caller and its supervisor are processes of their own. */
export default function buildWhenStale(): void {
  const built = join(root, 'dist', 'index.d.ts')
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  const newest = Math.max(...sources.map((name) => statSync(join(root, 'src', name)).mtimeMs))
  if (existsSync(built) && statSync(built).mtimeMs >= newest) return
  execFileSync('npx', ['--no-install', 'tsup'], { cwd: root, stdio: 'inherit' })
}
