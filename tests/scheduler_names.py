"""Names of noise schedulers that other programs' documents list, for tests."""

#: LocalAI's table.
LOCALAI = (
    *("ddim", "pndm", "heun", "unipc", "euler", "euler_a", "lms", "k_lms", "dpm_2", "k_dpm_2", "dpm_2_a", "k_dpm_2_a"),
    *("dpmpp_2m", "k_dpmpp_2m", "dpmpp_sde", "k_dpmpp_sde", "dpmpp_2m_sde", "k_dpmpp_2m_sde"),
    # `k_` on any, the default of its documentation, and what its model editor offers.
    *("k_euler", "k_unipc", "k_dpp_sde", "dpm_multistep", "dpm_singlestep"),
)

#: The web UI's menu, and the names with a schedule that it had before.
WEB_UI = (
    *(
        "DPM++ 2M",
        "DPM++ SDE",
        "DPM++ 2M SDE",
        "DPM++ 2M SDE Heun",
        "DPM++ 2S a",
        "DPM++ 3M SDE",
        "Euler a",
        "Euler",
        "LMS",
    ),
    *("Heun", "DPM2", "DPM2 a", "DDIM", "PLMS", "UniPC", "LCM", "LMS Karras", "DPM2 Karras", "DPM2 a Karras"),
    *("DPM++ 2S a Karras", "DPM++ 2M Karras", "DPM++ SDE Karras", "DPM++ 2M SDE Karras", "DPM++ 2M SDE Exponential"),
    *("DPM++ 2M SDE Heun Karras", "DPM++ 2M SDE Heun Exponential", "DPM++ 3M SDE Karras", "DPM++ 3M SDE Exponential"),
    *("Euler Karras", "Euler Exponential", "Euler SGM Uniform", "DPM++ 2M Simple", "DPM++ 2M Normal", "DPM++ 2M DDIM"),
    *("DPM++ 2M Automatic", "DPM++ 2M Uniform", "DPM++ 2M Beta", "DPM++ 2M Align Your Steps", "Euler Align Your Steps"),
    *("DPM++ SDE Beta", "Heun Exponential", "DEIS", "TCD", "DDPM", "SA Solver"),
)

#: Those of SD.Next that the web UI has not.
SDNEXT = (
    *("Euler SGM", "DPM++", "DPM++ 3M", "DPM++ 1S", "DPM SDE", "KDPM2", "KDPM2 a", "DDIM Parallel", "DDPM Parallel"),
    *("PNDM", "LMSD"),
)

#: InvokeAI's identifiers.
INVOKE = (
    *(
        "ddpm",
        "deis",
        "deis_k",
        "lms_k",
        "heun_k",
        "euler_k",
        "kdpm_2",
        "kdpm_2_k",
        "kdpm_2_a",
        "kdpm_2_a_k",
        "dpmpp_2s",
    ),
    *("dpmpp_2s_k", "dpmpp_2m_k", "dpmpp_2m_sde_k", "dpmpp_3m", "dpmpp_3m_k", "dpmpp_sde_k", "unipc_k", "tcd", "lcm"),
)

#: Names of these programs that cannot be honoured on a model that predicts velocity, and what the refusal says.
REFUSED = {
    "DPM fast": "has no equivalent in diffusers",
    "DPM adaptive": "none there chooses the number of steps itself",
    "Restart": "none there adds noise between the steps",
    "HeunPP2": "has no equivalent in diffusers",
    "DDIM CFG++": "none there has CFG++",
    "IPNDM": "it has no setting 'beta_schedule', which the model was trained with",
    "IPNDM_V": "its IPNDM supports only evenly spaced steps",
    "er_sde": "has no equivalent in diffusers",
    "ER-SDE 2M": "has no equivalent in diffusers",
    "DC Solver": "has no equivalent in diffusers",
    "VDM Solver": "has no equivalent in diffusers",
    "BDIA DDIM": "has no equivalent in diffusers",
    "TDD": "has no equivalent in diffusers",
    "PeRFlow": "has no equivalent in diffusers",
    "UFOGen": "has no equivalent in diffusers",
    "Flash FlowMatch": "has no equivalent in diffusers",
    "DPM2 FlowMatch": "its KDPM2 does not support flow matching",
    "DPM2++ 2M FlowMatch": "dpmpp_2m uses flow matching automatically",
    "UniPC FlowMatch": "'use_flow_sigmas' is for models that were trained by flow matching",
    "Euler FlowMatch": "it has no setting 'beta_schedule'",
    "Heun FlowMatch": "it has no setting 'beta_schedule'",
    "LCM FlowMatch": "it has no setting 'beta_schedule'",
    "Euler EDM": "it has no setting 'beta_schedule'",
    "DPM++ 2M EDM": "it has no setting 'beta_schedule'",
    "DPM++ Cosine": "it has no setting 'beta_schedule'",
    "CMSI": "it has no setting 'beta_schedule'",
    "CogX DDIM": "it has a setting 'snr_shift_scale'",
    "DPM++ Inverse": "it inverts an image into noise",
    "DPM++ 2M Inverse": "it inverts an image into noise",
    "DPM++ 3M Inverse": "it inverts an image into noise",
    "Euler Polyexponential": "'polyexponential' has no equivalent in diffusers",
    "DPM++ 2M KL Optimal": "has no equivalent in diffusers",
    "Euler a Karras": "requires 'use_karras_sigmas', a setting that EulerAncestralDiscreteScheduler does not have",
    "DDIM Karras": "requires 'use_karras_sigmas', a setting that DDIMScheduler does not have",
    "k_unipc_x": "There is no scheduler",
    "DDIM Align Your Steps": "DDIMScheduler does not support: it accepts no custom timesteps",
}
