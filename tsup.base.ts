import { defineConfig, type Options } from 'tsup'

/** One build for every published package: ESM, CommonJS and types for both. */
export const publishedPackage = (options: Options = {}): ReturnType<typeof defineConfig> =>
  defineConfig({
    entry: ['src/index.ts'],
    format: ['esm', 'cjs'],
    dts: true,
    sourcemap: true,
    clean: true,
    target: 'node20',
    treeshake: true,
    ...options,
  })
