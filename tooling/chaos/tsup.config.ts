import { readFileSync, writeFileSync } from 'node:fs'
import { defineConfig, type Options } from 'tsup'
import manifest from './package.json' with { type: 'json' }

const common: Options = { format: 'esm', target: 'node20', clean: true }

/** A version of Kysely as a few files rather than 300: to `hooks/kysely-resolve.mjs` each is a detour of its own. */
const kysely = (name: string): Options => {
  const [from, to] = [`node_modules/${name}`, `dist/${name}`]
  return {
    ...common,
    // Where one version or the other has its modules.
    entry: [`${from}/dist/{,esm/}{index,migration/index}.js`],
    outDir: `${to}/dist`,
    // `kyselyVersion()` reads it.
    onSuccess: async () => {
      const { version } = JSON.parse(readFileSync(`${from}/package.json`, 'utf8'))
      writeFileSync(`${to}/package.json`, JSON.stringify({ version, type: 'module' }))
    },
  }
}

export default defineConfig([
  {
    ...common,
    entry: { index: 'src/index.ts', harm: 'src/harm/index.ts', 'global-setup': 'src/global-setup.ts' },
    dts: { entry: { index: 'src/index.ts', harm: 'src/harm/index.ts' } },
    // The others clean up after themselves, at the same time.
    clean: ['!kysely-*'],
  },
  ...Object.keys(manifest.dependencies)
    .filter((name) => name.startsWith('kysely-'))
    .map(kysely),
])
