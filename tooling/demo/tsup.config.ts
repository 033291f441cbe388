import { defineConfig } from 'tsup'

export default defineConfig({
  // Besides the command itself: the programs of its child processes.
  entry: {
    index: 'src/index.ts',
    worker: 'src/worker/index.ts',
    'slow-server': 'src/slow-server.ts',
  },
  format: ['esm'],
  clean: true,
  target: 'node20',
})
