import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** By all the files asked for: what this process has compiled already. */
const known = new Map<string, URL>()

/**
 * A TypeScript file as JavaScript that node runs by itself, and starts soon: in one piece with the sources that it
 * imports, of which `import.meta.url` is then the same. Compiled anew by each process that asks, so never stale; kept in
 * its package's `node_modules`, where packages are found.
 *
 * @param beside files that it looks for at run time, beside its code: compiled too
 * @param kysely the version that it will load, if another than the installed one
 */
export function compiled(
  file: string | URL,
  beside: readonly URL[] = [],
  kysely = process.env.HOLDFAST_TEST_KYSELY,
): URL {
  const files = [file, ...beside].map((one) => (typeof one === 'string' ? one : fileURLToPath(one)))
  const key = [kysely, ...files].join('\n')
  const url = known.get(key) ?? pathToFileURL(compile(files, kysely || undefined))
  known.set(key, url)
  return url
}

const load = createRequire(import.meta.url)

/**
 * What is compiled into a script, since loading its many files takes longer than all the rest. Not where it
 * is to load another Kysely: `hooks/kysely.mjs` would not see it.
 */
function bundled(root: string, kysely: string | undefined): Record<string, string> {
  if (kysely !== undefined) return {}
  const built = (name: string, file: string): Record<string, string> => {
    const path = join(root, 'node_modules/@holdfast', file)
    return existsSync(path) ? { [name]: path } : {}
  }
  return {
    kysely: load.resolve('kysely').replace('/dist/cjs/', '/dist/esm/'),
    '@holdfast/chaos': fileURLToPath(new URL('./index.js', import.meta.url)),
    ...built('@holdfast/core', 'core/dist/index.js'),
    ...built('@holdfast/adapter-testkit/worker', 'adapter-testkit/dist/worker.js'),
  }
}

function compile(files: readonly string[], kysely: string | undefined): string {
  const root = packageOf(files[0]!)
  const leg = kysely ?? 'installed'
  const cache = join(root, 'node_modules/.cache/holdfast-children', leg)
  const folder = join(cache, relative(root, dirname(files[0]!)))
  // When needed only: children load this module too.
  const { buildSync }: typeof import('esbuild') = load('esbuild')
  const { outputFiles } = buildSync({
    entryPoints: [...files],
    entryNames: '[name]',
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    alias: bundled(root, kysely),
    // `sideEffects: false` is said of the published build; a script may import another for what it does.
    ignoreAnnotations: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: process.env.HOLDFAST_DEBUG ? 'inline' : false,
    sourcesContent: false,
    write: false,
  })
  mkdirSync(folder, { recursive: true })
  for (const { path, contents } of outputFiles) {
    // Other processes may be compiling or loading the same file.
    writeFileSync(`${path}.${process.pid}`, contents)
    renameSync(`${path}.${process.pid}`, path)
  }
  return join(folder, `${basename(files[0]!, '.ts')}.mjs`)
}

function packageOf(file: string): string {
  const folder = dirname(file)
  return existsSync(join(folder, 'package.json')) ? folder : packageOf(folder)
}
