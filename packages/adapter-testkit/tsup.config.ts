import { publishedPackage } from '../../tsup.base.js'

export default publishedPackage({
  entry: { index: 'src/index.ts', worker: 'src/worker.ts', memory: 'src/memory/index.ts' },
  // Private to the workspace: what the kit needs of it is part of the kit.
  noExternal: ['@holdfast/chaos'],
  // For its `import.meta.url` in CommonJS.
  shims: true,
})
