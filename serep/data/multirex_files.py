"""The published assets that scoring needs: their place, and the hash of each, so that a download is the same everywhere."""

ASSETS_URL = "https://raw.githubusercontent.com/ubisoft/ubisoft-laforge-multirex/74e2ac863f968b951c6f6dbf8684fbb69a87198b/assets/"
MULTIFACE_URL = "https://fb-baas-f32eacb9-8abb-11eb-b2b8-4857dd089e15.s3.amazonaws.com/MugsyDataRelease/v0.0/identities/"

ASSET_SHA256 = {
    "Neutrals_FLAME/002421669_029210.obj": "bdc3cbe655f01932601062348bee479a5bfccf44ec556fd0639c9f4b547984ec",
    "Neutrals_FLAME/002643814_030627.obj": "09cebb2922ec9dea65907da69c10d0946843f3474aa7a6a889e7becd4f35aca5",
    "Neutrals_FLAME/002645310_013263.obj": "630be889ef4089a358aa3a7a6fa399f269a0d0debf2c5d41106799713a2c0092",
    "Neutrals_FLAME/002914589_068768.obj": "d72a286a31a0f19b89e0c42dfb6fdfc3dbf4eb84f55718479b8894b32ca64d01",
    "Neutrals_FLAME/5372021_043046.obj": "49b9358b86a32148419f84416059abe1976126abe60c6228cb00e359271405d8",
    "Neutrals_FLAME/6795937_031632.obj": "e3f02c8c03e1fb37e7ccb21c50ff014c9d83d3b17ab5d57335db3f91c81f8b73",
    "Neutrals_FLAME/7889059_029858.obj": "a5b37cfcb295589a5ad972d4836119459c63c6f3e0761efe00c8c60cc12dbfa8",
    "Neutrals_FLAME/8870559_044169.obj": "ed8bb62c003dd12de32ffaaa801ed87297d587a6ce5a4c50d39e82526654ad95",
    "Neutrals_Multiface/002421669_029210.obj": "43ec2a249f51b42f3cd98a80aae9fee5311b879e8d00f44ea2b8c123035d15e9",
    "Neutrals_Multiface/002643814_030627.obj": "e4f7a4a10367dc4850e0a8b5e90f2f02c77507e69b867b1d950bbf4a663c406e",
    "Neutrals_Multiface/002645310_013263.obj": "f7539302f485136730fa4743bcfabb02dcd1b52bd81b4d2c39e3174977735135",
    "Neutrals_Multiface/002914589_068768.obj": "77d3f49e3912f72dc2a05261caff7e43709b98cf8d3c9d6fe8f0035461e5b9d3",
    "Neutrals_Multiface/5372021_043046.obj": "d121312284313a8ec707f75c2ec0a18a9d74adbe5e1fa1878a85449eab821260",
    "Neutrals_Multiface/6795937_031632.obj": "21bb8458becc0159fe2287ec1099b934af5f78ee6d088834bd69b3825bae32d1",
    "Neutrals_Multiface/7889059_029858.obj": "e7c22da4de735b140e2d1e62649d3bf8fc59907e4748711e63f668148e264308",
    "Neutrals_Multiface/8870559_044169.obj": "8f14000e1c263dca9082a422ca57ca180458b4b5f8b6b541731e18f86db2a578",
    "conversion_matrices/002421669_029210_FLAME_to_multiface_weights_sparse_v1.npz": "98d7b876153db5db1d2e060ab06c89bec8d047f6684cd06b10847049966d1056",
    "conversion_matrices/002643814_030627_FLAME_to_multiface_weights_sparse_v1.npz": "89b5821f52562cdc3005201e90f55d85fb2e16616355dc927af8d83606d41913",
    "conversion_matrices/002645310_013263_FLAME_to_multiface_weights_sparse_v1.npz": "60557ce4a422e0774c2fc181f0d0e75e66f0628127b6ffc1b467d31f4666e8a5",
    "conversion_matrices/002914589_068768_FLAME_to_multiface_weights_sparse_v1.npz": "77511310cfae24de252c928a8f37d14aabbffe5a501a4d1d0fa205ee8b433afc",
    "conversion_matrices/5372021_043046_FLAME_to_multiface_weights_sparse_v1.npz": "49f753d41d8bd1ab05113080c8458db6e1c2ac61a09e635f0f9fa556eb3a04d6",
    "conversion_matrices/6795937_031632_FLAME_to_multiface_weights_sparse_v1.npz": "ebd6d3d0cbd0db767df2c6cc27c923e0abbef01094e94a1be53d0bd3ea2e8c0a",
    "conversion_matrices/7889059_029858_FLAME_to_multiface_weights_sparse_v1.npz": "35daf1a9187851f5f1539e5b65849d6f73fc44ce9b000c4b106bd8919b493009",
    "conversion_matrices/8870559_044169_FLAME_to_multiface_weights_sparse_v1.npz": "b2ca34b2963767369ff44088aefce775afcc62456530cec8855a6507aca07857",
    "id_mesh_weights_metadata_flame.pickle": "9c9fa6581d567961a63fb4bca40ed9780e963ec13903006fb7c232ab6d4d73d7",
    "regions/cheek_region.npy": "2ff7a6e13a3e8363545ded3cdf21fc9d8fe51bbef5ddce9f80db4312353f20d6",
    "regions/eyes_forehead_region.npy": "9b18606af128dd3c6407991fa3707870c04556348937f8a810b62317a261da66",
    "regions/mouth_cheek_region.npy": "284e5d07c82044b2d85ba4d53e5e5c4f4dd82225d2aa56ec7eaa372ef8e807cd",
    "regions/mouth_region.npy": "f74aa6bc6a8e96edf3aed4c055f8e772024e9b05e14e105f1c1074c4e88e4beb",
    "regions/nose_region.npy": "b8390a81ae1ad601ad604976cf2881ebec6856da9e40287f97dac83c0de238a4",
    "video_bbox_mapping.pickle": "607fe4a03c02942d8cd5b874dd81b4d0d10092088af2d4b2c4a24233ec5d2dae",
}
